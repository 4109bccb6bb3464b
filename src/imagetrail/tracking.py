"""MLflow as a mirror of the files: live while a stage runs, and made complete by `publish`. Sole mlflow import.

A pipeline run is keyed by the content of dvc.lock, a stage's run by the content of its outs; both are tags, so nothing
in the repository depends on a run id. Stages that run for long also log live, below a parent that is `pending` until
`publish` finds out which version of the pipeline it became. A server that fails costs one warning and no result.
"""

import hashlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")  # seconds; MLflow would wait 120, seven times over
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")

import mlflow
import mlflow.onnx
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from requests.exceptions import RequestException

from imagetrail import layout, pipeline
from imagetrail.errors import UserError
from imagetrail.files import read_csv

for _talkative in ("mlflow", "alembic"):
    logging.getLogger(_talkative).setLevel(logging.WARNING)

VERSION, STAGE, CONTENT, PART, ROOT = (f"imagetrail.{tag}" for tag in ("version", "stage", "content", "part", "root"))
PARENT = "mlflow.parentRunId"
PENDING = "pending"
UNREACHABLE = (MlflowException, RequestException, OSError)
STATES = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}


def uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, else a database in the repository itself."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlflow.db'}"


@dataclass(frozen=True)
class Store:
    """One experiment of one MLflow store, and the few operations this pipeline needs of it."""

    client: MlflowClient
    experiment: str

    def find(self, **tags: str) -> list[Run]:
        """Runs with all of these tags, oldest first; a double underscore in a name stands for a dot."""
        terms = " and ".join(f"tags.`{name.replace('__', '.')}` = '{value}'" for name, value in tags.items())
        found: list[Run] = []
        token: str | None = None
        while token is not None or not found:
            page = self.client.search_runs(
                [self.experiment], terms, max_results=1000, order_by=["start_time"], page_token=token
            )
            found += page
            if not (token := page.token):
                break
        return found

    def create(self, name: str, tags: Mapping[str, str]) -> str:
        run = self.client.create_run(self.experiment, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def log(self, run: str, metrics: Sequence[Metric] = (), params: Mapping[str, Any] | None = None) -> None:
        named = [Param(key, str(value)) for key, value in (params or {}).items()]
        for start in range(0, max(len(metrics), 1), 900):  # a batch holds 1000 entries at most
            self.client.log_batch(run, metrics[start : start + 900], named if start == 0 else [])


def open_store(root: Path) -> Store:
    """The experiment of this pipeline's data set, made if need be."""
    name = pipeline.dataset(root)
    address = uri(root)
    mlflow.set_tracking_uri(address)
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return Store(client, experiment.experiment_id)
    place = f"file://{root.resolve() / 'mlartifacts' / name}" if address.startswith("sqlite:") else None
    return Store(client, client.create_experiment(name, artifact_location=place))


# ---- live ----


@dataclass
class Live:
    """A run that is being written. Once the server fails, it says so and takes no more."""

    store: Store | None
    run: str = ""
    children: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except UNREACHABLE as error:
            self.store = None
            reason = str(error).splitlines()[0][:200]
            warning = f"MLflow cannot be reached; going on without it, `imagetrail publish` catches up ({reason})"
            print(f"warning: {warning}", file=sys.stderr)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if self.store:
            with self._guarded():
                self.store.log(self.run, _metrics(metrics, step))

    def part(self, part: "Part") -> None:
        """Writes a whole child run: a trial or an arm."""
        if self.store:
            with self._guarded():
                _write_part(self.store, self.run, part)

    def end(self, status: str, content: str | None = None) -> None:
        if self.store:
            with self._guarded():
                if content:
                    self.store.client.set_tag(self.run, CONTENT, content)
                self.store.client.set_terminated(self.run, status)


@contextmanager
def live(stage: str, params: Mapping[str, Any], root: Path = Path()) -> Iterator[Live]:
    """A run for `stage` that ends FINISHED, FAILED or KILLED as the block does."""
    log = Live(None)
    with log._guarded():
        store = open_store(root)
        tags = {PARENT: _pending(store, root), STAGE: stage}
        log.run = store.create(stage, tags)
        store.log(log.run, params=params)
        log.store = store
    try:
        yield log
    except (KeyboardInterrupt, SystemExit):
        log.end("KILLED")
        raise
    except BaseException:
        log.end("FAILED")
        raise
    log.end("FINISHED", _content_on_disk(stage, root))


def _pending(store: Store, root: Path) -> str:
    here = _here(root)
    found = store.find(imagetrail__version=PENDING, imagetrail__root=here)
    return found[-1].info.run_id if found else store.create("pipeline · running", {VERSION: PENDING, ROOT: here})


def _here(root: Path) -> str:
    return hashlib.sha256(f"{socket.gethostname()}:{root.resolve()}".encode()).hexdigest()[:16]


def _content_on_disk(stage: str, root: Path) -> str:
    outs = [out for out in pipeline.stages(root)[stage].outs if not out.endswith(pipeline.OBSERVATIONS)]
    return _content({out: hashlib.md5((root / out).read_bytes()).hexdigest() for out in outs})


def _content(results: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(results), sort_keys=True).encode()).hexdigest()[:16]


# ---- parts: the trials of a search, the arms of a comparison ----


@dataclass(frozen=True)
class Part:
    """A child run of a stage, known by `key` among its siblings."""

    key: str
    name: str
    params: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]  # a row an epoch, with `epoch`
    metrics: Mapping[str, float]
    state: str = "COMPLETE"


def _write_part(store: Store, parent: str, part: Part) -> None:
    run = store.create(part.name, {PARENT: parent, PART: part.key, "imagetrail.state": part.state})
    curves = [metric for row in part.history for metric in _metrics(_without_epoch(row), int(row["epoch"]))]
    store.log(run, [*curves, *_metrics(part.metrics, len(part.history))], part.params)
    store.client.set_terminated(run, STATES[part.state])  # last: a part that has ended is whole


def _metrics(values: Mapping[str, float], step: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, step) for name, value in values.items()]


def _without_epoch(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "epoch"}


# ---- publish ----


def publish(root: Path = Path()) -> tuple[str, int]:
    """Makes MLflow agree with dvc.lock; returns the version and how many runs that took. A second call makes none.

    Raises UserError if nothing has run, files differ from dvc.lock, or the server is out of reach.
    """
    locked = pipeline.lock(root)
    if not locked:
        raise UserError("nothing to publish: there is no dvc.lock yet; run `dvc repro` first")
    pipeline.verify(locked, root)
    try:
        return _publish(root, locked)
    except UNREACHABLE as error:
        raise UserError(f"MLflow at {uri(root)} cannot be reached or refuses: {str(error).splitlines()[0]}") from None


def _publish(root: Path, locked: dict[str, Any]) -> tuple[str, int]:
    store = open_store(root)
    version = pipeline.version(locked)
    parent, made = _parent(store, root, version)
    known = store.find(**{PARENT.replace(".", "__"): parent})
    for stage, entry in locked.items():
        content = _content(pipeline.results(entry))
        mine = [run for run in known if run.data.tags.get(STAGE) == stage]
        same = [run for run in mine if run.data.tags.get(CONTENT) == content]
        for stale in (run for run in mine if run not in same and not run.info.run_name.endswith("superseded")):
            store.client.update_run(stale.info.run_id, name=f"{stage} · superseded")
        if not same:
            made += 1
        run = same[0].info.run_id if same else store.create(stage, {PARENT: parent, STAGE: stage})
        if not same or "imagetrail.whole" not in same[0].data.tags:
            made += _complete(store, run, stage, entry, root)
            store.client.set_tag(run, CONTENT, content)
            store.client.set_terminated(run, "FINISHED")
            store.client.set_tag(run, "imagetrail.whole", "true")
        if stage == "export":
            _register(store, run, pipeline.dataset(root), content, root)
    _describe_parent(store, parent, root)
    return version, made


def _parent(store: Store, root: Path, version: str) -> tuple[str, int]:
    """The run of this version of the pipeline, and whether it had to be made."""
    pending = store.find(imagetrail__version=PENDING, imagetrail__root=_here(root))
    known = store.find(imagetrail__version=version)
    for leftover in pending if known else pending[:-1]:
        store.client.set_tag(leftover.info.run_id, VERSION, "abandoned")
        store.client.set_terminated(leftover.info.run_id, "KILLED")
    if known:
        return known[0].info.run_id, 0
    name = f"pipeline {version[:7]}"
    if pending:
        run = pending[-1].info.run_id
        store.client.set_tag(run, VERSION, version)
        store.client.update_run(run, name=name)
        return run, 0
    return store.create(name, {VERSION: version}), 1


def _describe_parent(store: Store, parent: str, root: Path) -> None:
    run = store.client.get_run(parent)
    for tag, value in pipeline.git_facts(root).items():
        if run.data.tags.get(tag) != value:
            store.client.set_tag(parent, tag, value)
    if run.info.status == "FINISHED":
        return
    headline = {
        f"test_{name}": value for name, value in _numbers(root / layout.ARTIFACTS / "evaluate" / "metrics.json").items()
    }
    store.log(parent, _metrics(headline, 0))
    report = root / layout.ARTIFACTS / "report"
    for file in (report / "index.html", report / "report.md", root / "dvc.lock", root / "params.yaml"):
        if file.exists():
            store.client.log_artifact(parent, str(file))
    store.client.set_terminated(parent, "FINISHED")


def _complete(store: Store, run: str, stage: str, entry: dict[str, Any], root: Path) -> int:
    """Writes to a stage's run all that its files say and the run does not have yet; returns how many runs that made."""
    folder = root / layout.ARTIFACTS / stage
    params = _flat(entry.get("params", {}).get("params.yaml", {}))
    if stage == "train":  # the recipe's fields by their own names, so that runs compare with trials and arms
        params |= json.loads((folder / "recipe.json").read_text())
    logged = store.client.get_run(run).data.params
    store.log(run, params={name: value for name, value in params.items() if name not in logged})
    numbers = {name: value for file in sorted(folder.glob("*.json")) for name, value in _numbers(file).items()}
    store.log(run, _metrics(numbers, 0))
    made = PARTS[stage](store, run, folder) if stage in PARTS else 0
    _log_inputs(store, run, entry)
    if folder.is_dir():
        store.client.log_artifacts(run, str(folder))
    return made


def _train_history(store: Store, run: str, folder: Path) -> int:
    have = {metric.step for metric in store.client.get_metric_history(run, "valid_loss")}
    rows = [_row(row) for row in read_csv(folder / "history.csv")]
    missing = [row for row in rows if row["epoch"] not in have]
    store.log(run, [metric for row in missing for metric in _metrics(_without_epoch(row), int(row["epoch"]))])
    return 0


def _trials(store: Store, run: str, folder: Path) -> int:
    return _missing_parts(
        store, run, [trial_part(row, _history(folder, number=row["number"])) for row in read_csv(folder / "trials.csv")]
    )


def _arms(store: Store, run: str, folder: Path) -> int:
    rows = read_csv(folder / "results.csv")
    arms = json.loads((folder / "recipes.json").read_text())
    parts = [arm_part(row, arms[row["arm"]], _history(folder, arm=row["arm"], seed=row["seed"])) for row in rows]
    return _missing_parts(store, run, parts)


PARTS = {"train": _train_history, "tune": _trials, "compare": _arms}


def trial_part(row: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> Part:
    """A row of trials.csv as a run."""
    values = {name: value for name, value in row.items() if name not in ("number", "state", "epochs", "value")}
    ending = {"COMPLETE": "", "PRUNED": f" · pruned at {row['epochs']}", "FAIL": " · failed"}[row["state"]]
    name = f"trial {int(row['number']):03d} · {values.get('activation', '')}{ending}"
    metrics = {"valid_top1": float(row["value"])} if row["value"] not in ("", None) else {}
    return Part(str(row["number"]), name, values, history, metrics, str(row["state"]))


def arm_part(row: Mapping[str, Any], recipe: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> Part:
    """A row of results.csv as a run."""
    arm, seed = row["arm"], row["seed"]
    return Part(
        f"{arm}/{seed}",
        f"{arm} · seed {seed}",
        dict(recipe) | {"seed": seed},
        history,
        {"valid_top1": float(row["valid_top1"])},
    )


def _missing_parts(store: Store, run: str, parts: Sequence[Part]) -> int:
    known = store.find(**{PARENT.replace(".", "__"): run})
    whole = {child.data.tags.get(PART) for child in known if child.info.status in ("FINISHED", "FAILED")}
    for child in known:
        if child.info.status not in ("FINISHED", "FAILED"):  # broken off half-written; written anew below
            store.client.delete_run(child.info.run_id)
    missing = [part for part in parts if part.key not in whole]
    for part in missing:
        _write_part(store, run, part)
    return len(missing)


def _history(folder: Path, **which: str) -> list[dict[str, float]]:
    rows = [row for row in read_csv(folder / "history.csv") if all(row[name] == value for name, value in which.items())]
    return [_row({name: value for name, value in row.items() if name not in which}) for row in rows]


def _row(row: Mapping[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items()}


def _numbers(file: Path) -> dict[str, float]:
    """The numbers at the top level of a JSON file."""
    value = json.loads(file.read_text()) if file.exists() else {}
    pairs = value.items() if isinstance(value, dict) else ()
    return {
        name: float(number) for name, number in pairs if isinstance(number, int | float) and not isinstance(number, bool)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _log_inputs(store: Store, run: str, entry: dict[str, Any]) -> None:
    """The data sets a stage read, identified by DVC's content hash."""
    data = [dep for dep in entry.get("deps", ()) if dep["path"].startswith("data/")]
    inputs = [
        DatasetInput(
            Dataset(
                dep["path"], dep["md5"].removesuffix(".dir"), "dvc", json.dumps({"path": dep["path"], "md5": dep["md5"]})
            ),
            [InputTag("mlflow.data.context", dep["path"].rsplit("/", 1)[-1])],
        )
        for dep in data
    ]
    if inputs:
        store.client.log_inputs(run, inputs)


def _register(store: Store, run: str, name: str, content: str, root: Path) -> None:
    """Registers the exported model under the data set's name, once, and points `challenger` at it."""
    client = store.client
    try:
        known = [v for v in client.search_model_versions(f"name = '{name}'") if v.tags.get(CONTENT) == content]
    except MlflowException:
        known = []
    if known:
        number = known[0].version
    else:
        number = _log_model(run, name, root)
        client.set_model_version_tag(name, number, CONTENT, content)
    aliases = client.get_registered_model(name).aliases
    if str(aliases.get("challenger")) != str(number):
        client.set_registered_model_alias(name, "challenger", str(number))


def _log_model(run: str, name: str, root: Path) -> str:
    model = onnx.load(root / layout.ARTIFACTS / "export" / "model.onnx")
    graph_in, graph_out = model.graph.input[0], model.graph.output[0]
    shape = [dim.dim_value for dim in graph_in.type.tensor_type.shape.dim][1:]
    classes = len(json.loads({prop.key: prop.value for prop in model.metadata_props}["classes"]))
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *shape), graph_in.name)]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, classes), graph_out.name)]),
    )
    with mlflow.start_run(run_id=run):
        logged = mlflow.onnx.log_model(
            model,
            name="model",
            registered_model_name=name,
            signature=signature,
            pip_requirements=[f"{package}=={installed(package)}" for package in ("numpy", "onnx", "onnxruntime")],
        )
    return str(logged.registered_model_version)
