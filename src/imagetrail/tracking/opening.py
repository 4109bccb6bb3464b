"""Opens the store: the database is made whole, and the experiment is this project's or is refused.

An experiment, a registered model and its aliases are called as the project is. On a server that
others use too, theirs may have the same name: hence a tag with the project's identity.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf.json_format import ParseError

from imagetrail.base import pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing
from imagetrail.base.paths import PROJECT_FILE
from imagetrail.base.words import without_secrets
from imagetrail.release import project
from imagetrail.tracking import moved
from imagetrail.tracking.store import NO_MLFLOW, PROJECT, WHERE, Store  # first: no telemetry

# isort: split
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

SQLITE = "sqlite:///"


def uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, else a database in the repository itself."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _own(root)


def shown(root: Path) -> str:
    """The address for people to open, without the password that may be in it."""
    return without_secrets(uri(root))


def open_store(root: Path, *, patience: int = 30, retries: int = 1) -> Store:
    """The experiment of this project, made if need be, restored if somebody has deleted it.

    patience: seconds that a server has for an answer, where MLflow would wait 120, seven times
    over; the user's own MLFLOW_HTTP_REQUEST_TIMEOUT and MLFLOW_HTTP_REQUEST_MAX_RETRIES go before.
    Raises UserError if the experiment of this name is another project's.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(patience))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(retries))
    address, name = uri(root), pipeline.project(root)
    _make_database(address)
    mlflow.set_tracking_uri(address)
    client = MlflowClient(address)
    own = address == _own(root)
    owner = {} if own else _owner(root)
    experiment = _experiment(client, name, root, owner)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if own:  # nobody else's can be in there
        moved.repoint(root.resolve() / "mlflow.db", experiment.artifact_location)
        return Store(client, experiment.experiment_id)
    tags = experiment.tags
    known = tags.get(PROJECT, "") if tags.get(WHERE) == owner[WHERE] else ""
    owner[PROJECT] = project.identity(root, known=known)
    _refuse_another(experiment, owner[PROJECT])
    if PROJECT not in tags:  # made by hand, or before there were owners
        for tag, value in owner.items():
            client.set_experiment_tag(experiment.experiment_id, tag, value)
    return Store(client, experiment.experiment_id, owner)


def _owner(root: Path) -> dict[str, str]:
    return {WHERE: project.whereabouts(root), PROJECT: project.held(root) or project.drawn()}


def _own(root: Path) -> str:
    return f"{SQLITE}{root.resolve() / 'mlflow.db'}"


def _make_database(address: str) -> None:
    """Makes it whole or not at all: an interrupted migration could not be repeated."""
    file = Path(address.removeprefix(SQLITE))
    if not address.startswith(SQLITE) or file.exists() or not file.parent.is_dir():
        return
    with _alone_in(file.parent):
        if not file.exists():
            with replacing(file) as temporary:
                MlflowClient(f"{SQLITE}{temporary}").search_experiments()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Waits for any other process that is in here with this folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _experiment(client: MlflowClient, name: str, root: Path, owner: dict[str, str]) -> Experiment:
    """The experiment of that name, the owner's if it is new.

    Raises MlflowException if what answers is no MLflow.
    """
    try:
        found = client.get_experiment_by_name(name)
        if found is None:
            _create(client, name, root, owner)
            found = client.get_experiment_by_name(name)
    except (ParseError, ValueError, TypeError, AttributeError):  # what it makes of others' JSON
        found = None
    if found is None or found.name != name:
        raise MlflowException(NO_MLFLOW)
    return found


def _create(client: MlflowClient, name: str, root: Path, owner: dict[str, str]) -> None:
    """With its owner from the start: of two machines at once, one makes it, the other finds it."""
    folder = root.resolve() / moved.FOLDER / name
    place = folder.as_uri() if uri(root).startswith("sqlite:") else None
    try:
        client.create_experiment(name, artifact_location=place, tags=owner)
    except MlflowException:  # another process was faster?
        if client.get_experiment_by_name(name) is None:
            raise


def _refuse_another(experiment: Experiment, mine: str) -> None:
    theirs = experiment.tags.get(PROJECT, mine)
    if theirs != mine:
        raise UserError(
            f"{experiment.name} in MLflow is another project's, of {experiment.tags.get(WHERE)}; "
            f"give this one a name of its own (`project` in params.yaml), or, if it is that "
            f"project, bring {PROJECT_FILE} from there, with the id {theirs}"
        )
