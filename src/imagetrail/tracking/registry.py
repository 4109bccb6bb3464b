"""MLflow's model registry: exported models as versions that aliases point at."""

from imagetrail.tracking.store import CONTENT, PROJECT, WHERE, Store  # first: no telemetry

# isort: split
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

import mlflow.onnx
import numpy as np
import onnx
from mlflow.entities import LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from imagetrail.base import hashing
from imagetrail.base.errors import UserError
from imagetrail.tracking.patience import UPLOAD, limit, within

PACKAGES = ("numpy", "onnx", "onnxruntime")  # that whoever loads a model from MLflow needs
EXAMPLES = 2  # images that go with a model, as its input example


@dataclass(frozen=True)
class Exported:
    """A model's file, and what its version in MLflow says of it."""

    path: Path
    sha256: str
    description: str  # Markdown
    tags: dict[str, str]  # where it comes from: data, licence
    images: Path  # (n, H, W, C) uint8, of which the first are its example, if it is there


def register(
    store: Store, name: str, model: Exported, *, alias: str, run: str | None = None
) -> str | None:
    """Points `alias` at the version of that very file, made if need be, below the run.

    Returns the run of that version. Raises UserError if the file is another, or if the alias is on
    another project's version.
    """
    _refuse_anothers(store, name, alias)
    version = _version(store, name, model.sha256) or _log_model(store, run, name, model)
    _complete(store, version, model)
    if run and version.model_id and run != version.run_id:
        _link(store, run, version.model_id)
    number = str(version.version)
    if _alias(store, name, alias) != number:
        store.client.set_registered_model_alias(name, alias, number)
    return str(version.run_id) if version.run_id else None


def _alias(store: Store, name: str, alias: str) -> str | None:
    """The number of the version that the alias is on, if any."""
    try:
        number = store.client.get_registered_model(name).aliases.get(alias)
    except MlflowException:  # nothing is registered under this name yet
        return None
    return None if number is None else str(number)


def _refuse_anothers(store: Store, name: str, alias: str) -> None:
    number = _alias(store, name, alias)
    if not store.owner or number is None:
        return
    tags = store.client.get_model_version(name, number).tags
    unmarked = PROJECT not in tags and CONTENT in tags  # of a time when nobody said whose it was
    if not unmarked and tags.get(PROJECT) != store.owner[PROJECT]:
        raise UserError(
            f"{name}@{alias} in MLflow is version {number}, which is another's: "
            f"{tags.get(WHERE, 'not made by imagetrail')}; give this one a name of its own "
            "(`project` in params.yaml)"
        )


def _version(store: Store, name: str, content: str) -> ModelVersion | None:
    """The version of this content; of several the first, and the others go."""
    try:
        versions = list(store.client.search_model_versions(f"name = '{name}'"))
    except MlflowException:  # nothing is registered under this name yet
        return None
    same = [version for version in versions if version.tags.get(CONTENT) == content]
    if not same:
        return None
    first, *others = sorted(same, key=lambda version: int(version.version))
    aliases = store.client.get_registered_model(name).aliases if others else {}
    for other in others:
        for alias in (key for key, at in aliases.items() if str(at) == str(other.version)):
            store.client.set_registered_model_alias(name, alias, str(first.version))
        store.client.delete_model_version(name, str(other.version))
    return first


def _complete(store: Store, version: ModelVersion, model: Exported) -> None:
    """Gives a version the tags and the description that it lacks."""
    tags = {**model.tags, **store.owner}
    for tag, value in tags.items():
        if version.tags.get(tag) != value:
            store.client.set_model_version_tag(version.name, str(version.version), tag, value)
    if model.description and (version.description or "") != model.description:
        store.client.update_model_version(version.name, str(version.version), model.description)


def _link(store: Store, run: str, model_id: str) -> None:
    """Has a run show a model that another run has logged."""
    outputs = store.client.get_run(run).outputs
    if model_id not in {output.model_id for output in (outputs.model_outputs if outputs else ())}:
        store.client.log_outputs(run, [LoggedModelOutput(model_id=model_id, step=0)])


def _log_model(store: Store, run: str | None, name: str, model: Exported) -> ModelVersion:
    path = model.path
    if not path.exists() or hashing.sha256(path) != model.sha256:
        raise UserError(
            f"{path} is not the model {model.sha256[:12]}, which MLflow lacks; "
            f"run `dvc pull {path}`"
        )
    graph = onnx.load(path)
    with within(UPLOAD * limit()):
        mlflow.set_experiment(experiment_id=store.experiment)
        with mlflow.start_run(run_id=run) if run else nullcontext():
            logged = mlflow.onnx.log_model(
                graph,
                name="model",
                signature=_signature(graph),
                input_example=_example(model.images),
                save_as_external_data=False,
                onnx_execution_providers=["CPUExecutionProvider"],
                pip_requirements=[f"{package}=={installed(package)}" for package in PACKAGES],
                metadata={CONTENT: model.sha256, **model.tags},
            )
    with suppress(MlflowException):  # it is there
        store.client.create_registered_model(name)
    return store.client.create_model_version(
        name,
        logged.model_uri,
        run,
        tags={CONTENT: model.sha256, **model.tags, **store.owner},
        description=model.description,
        model_id=logged.model_id,
    )


def _example(images: Path) -> np.ndarray | None:
    if not images.exists():
        return None
    return np.array(np.load(images, mmap_mode="r", allow_pickle=False)[:EXAMPLES])


def _signature(model: onnx.ModelProto) -> ModelSignature:
    def spec(value: onnx.ValueInfoProto, kind: type[np.generic]) -> TensorSpec:
        shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim][1:]
        return TensorSpec(np.dtype(kind), (-1, *shape), value.name)

    return ModelSignature(
        inputs=Schema([spec(value, np.uint8) for value in model.graph.input]),
        outputs=Schema([spec(value, np.float32) for value in model.graph.output]),
    )
