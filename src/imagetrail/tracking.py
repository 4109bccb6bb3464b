"""MLflow, live: what stages log while they run. Sole mlflow import.

MLflow mirrors the files. A run is known by its tags, never by an id that the repository would have to keep: a pipeline
run by its version, a stage's run by the content of its outs, a trial or an arm by its key among its siblings. Live
runs stand below a pipeline run that is `pending` until `publish` finds out which version it became. A server that
fails costs one warning and no result.
"""

import hashlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")  # seconds; MLflow would wait 120, seven times over
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

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
from sqlalchemy.exc import SQLAlchemyError

from imagetrail import pipeline, versioning
from imagetrail.errors import UserError
from imagetrail.files import replacing

for _talkative in ("mlflow", "alembic"):
    logging.getLogger(_talkative).setLevel(logging.WARNING)

VERSION, STAGE, CONTENT, PART, ROOT = (f"imagetrail.{tag}" for tag in ("version", "stage", "content", "part", "root"))
PARENT = "mlflow.parentRunId"
PENDING = "pending"  # the version of a pipeline run that is still being made
UNREACHABLE = (MlflowException, RequestException, SQLAlchemyError, OSError)
STATES = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}
BATCH = 900  # metrics in one call; MLflow takes 1000 entries at most


@dataclass(frozen=True)
class Part:
    """A child run of a stage: a trial of a search, an arm of a comparison."""

    key: str  # among its siblings
    name: str
    params: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]  # a row an epoch, with `epoch`
    metrics: Mapping[str, float]
    state: str = "COMPLETE"


def trial_part(row: Mapping[str, Any], recipe: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> Part:
    """A row of trials.csv as a run, with the whole recipe so that it compares with arms and the training."""
    values = {name: value for name, value in row.items() if name not in ("number", "state", "epochs", "value")}
    ending = {"COMPLETE": "", "PRUNED": f" · pruned at {row['epochs']}", "FAIL": " · failed"}[row["state"]]
    name = f"trial {int(row['number']):03d} · {values.get('activation', '')}{ending}"
    metrics = {"valid_top1": float(row["value"])} if row["value"] != "" else {}
    return Part(str(row["number"]), name, dict(recipe) | values, history, metrics, str(row["state"]))


def arm_part(row: Mapping[str, Any], recipe: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> Part:
    """A row of results.csv as a run."""
    name, arm, seed = row["set"], row["arm"], row["seed"]
    params = dict(recipe) | {"set": name, "arm": arm, "seed": seed}
    return Part(f"{name}/{arm}/{seed}", f"{arm} · seed {seed}", params, history, {"valid_top1": float(row["valid_top1"])})


@dataclass(frozen=True)
class Store:
    """One experiment of one MLflow store, and the few operations this pipeline needs of it."""

    client: MlflowClient
    experiment: str

    def find(self, tags: Mapping[str, str]) -> list[Run]:
        """Runs with all of these tags, oldest first."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment], wanted, max_results=1000, order_by=["start_time"], page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found

    def create(self, name: str, tags: Mapping[str, str], *, started: float | None = None) -> str:
        """A new run; `started` in seconds since 1970 (default: now)."""
        milliseconds = None if started is None else int(started * 1000)
        run = self.client.create_run(self.experiment, start_time=milliseconds, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def end(self, run: str, status: str, *, ended: float | None = None) -> None:
        self.client.set_terminated(run, status, end_time=None if ended is None else int(ended * 1000))

    def log_params(self, run: str, params: Mapping[str, Any]) -> None:
        self.client.log_batch(run, params=[Param(name, str(value)) for name, value in params.items()])

    def log_metrics(self, run: str, values: Mapping[str, float], *, step: int = 0) -> None:
        self.client.log_batch(run, metrics=_metrics(values, step))

    def log_history(self, run: str, rows: Sequence[Mapping[str, float]]) -> None:
        """Curves: each row's figures at the step that its `epoch` says."""
        metrics = [metric for row in rows for metric in _metrics(_curve_points(row), int(row["epoch"]))]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run, metrics=metrics[start : start + BATCH])

    def steps(self, run: str, metric: str) -> set[int]:
        return {point.step for point in self.client.get_metric_history(run, metric)}

    def log_inputs(self, run: str, hashes: Mapping[str, str]) -> None:
        """Data sets by path, each with DVC's content hash as its identity."""
        inputs = [
            DatasetInput(
                Dataset(path, md5.removesuffix(".dir"), "dvc", json.dumps({"path": path, "md5": md5})),
                [InputTag("mlflow.data.context", path.rsplit("/", 1)[-1])],
            )
            for path, md5 in hashes.items()
        ]
        if inputs:
            self.client.log_inputs(run, inputs)

    def write(self, parent: str, part: Part) -> None:
        """A whole child run. It ends last, so a part that has ended is whole."""
        run = self.create(part.name, {PARENT: parent, PART: part.key, "imagetrail.state": part.state})
        self.log_params(run, part.params)
        self.log_history(run, part.history)
        self.log_metrics(run, part.metrics, step=len(part.history))
        self.end(run, STATES[part.state])

    def register(self, name: str, model: str, path: Path, *, alias: str, run: str | None = None, description: str) -> None:
        """Points `alias` at the version whose file has the SHA-256 `model`, made if need be; UserError for another file."""
        try:
            versions = list(self.client.search_model_versions(f"name = '{name}'"))
        except MlflowException:  # nothing is registered under this name yet
            versions = []
        known = [version.version for version in versions if version.tags.get(CONTENT) == model]
        number = str(known[0] if known else self._log_model(run, name, model, path))
        if not known:
            self.client.update_model_version(name, number, description)
        if str(self.client.get_registered_model(name).aliases.get(alias)) != number:
            self.client.set_registered_model_alias(name, alias, number)

    def _log_model(self, run: str | None, name: str, model: str, path: Path) -> str:
        if not path.exists() or versioning.sha256(path) != model:
            raise UserError(f"{path} is not the model {model[:12]}, which MLflow lacks; run `dvc pull {path}`")
        graph = onnx.load(path)
        mlflow.set_experiment(experiment_id=self.experiment)
        with mlflow.start_run(run_id=run) if run else nullcontext():
            logged = mlflow.onnx.log_model(
                graph,
                name="model",
                registered_model_name=name,
                signature=_signature(graph),
                save_as_external_data=False,
                onnx_execution_providers=["CPUExecutionProvider"],
                pip_requirements=[f"{package}=={installed(package)}" for package in ("numpy", "onnx", "onnxruntime")],
            )
        number = str(logged.registered_model_version)
        self.client.set_model_version_tag(name, number, CONTENT, model)
        return number


def _metrics(values: Mapping[str, float], step: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, step) for name, value in values.items()]


def _curve_points(row: Mapping[str, float]) -> dict[str, float]:
    """An epoch's figures by their names in MLflow, where `lr` is a param already."""
    return {"learning_rate" if name == "lr" else name: value for name, value in row.items() if name != "epoch"}


def _signature(model: onnx.ModelProto) -> ModelSignature:
    def spec(value: onnx.ValueInfoProto, kind: type[np.generic]) -> TensorSpec:
        shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim][1:]
        return TensorSpec(np.dtype(kind), (-1, *shape), value.name)

    return ModelSignature(
        inputs=Schema([spec(value, np.uint8) for value in model.graph.input]),
        outputs=Schema([spec(value, np.float32) for value in model.graph.output]),
    )


def uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, else a database in the repository itself."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlflow.db'}"


def open_store(root: Path) -> Store:
    """The experiment of this pipeline's data set, made if need be."""
    name, address = pipeline.dataset(root), uri(root)
    file = root.resolve() / "mlflow.db"
    if address == f"sqlite:///{file}" and not file.exists():
        with replacing(file) as temporary:  # MLflow migrates in place, and an interrupted migration cannot be repeated
            MlflowClient(f"sqlite:///{temporary}").search_experiments()
    mlflow.set_tracking_uri(address)
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return Store(client, experiment.experiment_id)
    place = f"file://{root.resolve() / 'mlartifacts' / name}" if address.startswith("sqlite:") else None
    return Store(client, client.create_experiment(name, artifact_location=place))


def here(root: Path) -> str:
    """Tells this working copy from others that use the same server."""
    return hashlib.sha256(f"{socket.gethostname()}:{root.resolve()}".encode()).hexdigest()[:16]


def content_key(results: Mapping[str, str]) -> str:
    """The identity of a stage's run: a hash of its outs' hashes."""
    return hashlib.sha256(json.dumps(dict(results), sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class Live:
    """A run that is being written. Once the server fails, it says so and takes no more."""

    store: Store | None = None
    run: str = ""

    @contextmanager
    def guarded(self) -> Iterator[None]:
        try:
            yield
        except UNREACHABLE as error:
            self.store = None
            reason = str(error).splitlines()[0][:200]
            warning = f"MLflow cannot be reached; going on without it, `imagetrail publish` catches up ({reason})"
            print(f"warning: {warning}", file=sys.stderr)

    def epoch(self, row: Mapping[str, float]) -> None:
        """A row of history.csv."""
        if self.store:
            with self.guarded():
                self.store.log_history(self.run, [row])

    def part(self, part: Part) -> None:
        """Writes a whole child run."""
        if self.store:
            with self.guarded():
                self.store.write(self.run, part)

    def end(self, status: str) -> None:
        if self.store:
            with self.guarded():
                self.store.end(self.run, status)


@contextmanager
def live(stage: str, params: Mapping[str, Any], root: Path = Path()) -> Iterator[Live]:
    """A run for `stage` that ends FINISHED, FAILED or KILLED as the block does."""
    log = Live()
    with log.guarded():
        store = open_store(root)
        log.run = store.create(stage, {PARENT: _pending(store, root), STAGE: stage})
        store.log_params(log.run, params)
        log.store = store
    status = "FAILED"
    try:
        yield log
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        if log.store and status == "FINISHED":
            with log.guarded():
                log.store.client.set_tag(log.run, CONTENT, _content_on_disk(stage, root))
        log.end(status)


def _pending(store: Store, root: Path) -> str:
    tags = {VERSION: PENDING, ROOT: here(root)}
    found = store.find(tags)
    return str(found[-1].info.run_id) if found else store.create("pipeline · running", tags)


def _content_on_disk(stage: str, root: Path) -> str:
    outs = [out for out in pipeline.stages(root)[stage].outs if not out.endswith(pipeline.OBSERVATIONS)]
    return content_key({out: hashlib.md5((root / out).read_bytes()).hexdigest() for out in outs})
