"""MLflow: one experiment of one store, and the few operations that this pipeline needs of it.

MLflow mirrors the files. A run is known by its tags, never by an id that the repository would have
to keep: a pipeline run by its version, a stage's run by the content of its outs, a trial or an arm
by its key among its siblings. While a stage runs, `live` writes here; afterwards `publish` makes it
agree with dvc.lock.
"""

import json
import logging
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Of a server, two lines with addresses for each run that ends; we say one, at the end.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from mlflow import MlflowClient as MlflowClient  # for publishing, too
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.entities import Run as Run
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from imagetrail.tracking.parts import Part

for _talkative in ("mlflow", "alembic"):
    logging.getLogger(_talkative).setLevel(logging.WARNING)

VERSION, STAGE, CONTENT, PART = (
    f"imagetrail.{tag}" for tag in ("version", "stage", "content", "part")
)
NO_MLFLOW = "what answers there is no MLflow server"
WHOLE = "imagetrail.whole"  # tag of a run that has all there is to say
PROJECT, WHERE = "imagetrail.project", "imagetrail.project.where"  # tags of an experiment
PARENT = "mlflow.parentRunId"
UNREACHABLE = (MlflowException, RequestException, SQLAlchemyError, sqlite3.Error, OSError)
STATES = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}
SCORE = "valid_top1"  # by which trainings compare
BATCH = 900  # metrics in one call; MLflow takes 1000 entries at most


@dataclass(frozen=True)
class Store:
    """One experiment of one MLflow store, and the few operations this pipeline needs of it."""

    client: MlflowClient
    experiment: str
    owner: Mapping[str, str] = field(default_factory=dict)  # tags that say whose it is, if shared

    def find(self, tags: Mapping[str, str], *, status: str = "") -> list[Run]:
        """Runs with all of these tags, oldest first."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        wanted += f" and attributes.status = '{status}'" if status else ""
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment],
                wanted,
                max_results=1000,
                order_by=["start_time"],
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                return found

    def create(self, name: str, tags: Mapping[str, str], *, started: float | None = None) -> str:
        """A new run; `started` in seconds since 1970 (default: now)."""
        milliseconds = None if started is None else int(started * 1000)
        run = self.client.create_run(
            self.experiment, start_time=milliseconds, run_name=name, tags=dict(tags)
        )
        if not run.info.run_id:
            raise MlflowException(NO_MLFLOW)
        return str(run.info.run_id)

    def end(self, run: str, status: str, *, ended: float | None = None) -> None:
        self.client.set_terminated(
            run, status, end_time=None if ended is None else int(ended * 1000)
        )

    def log_params(self, run: str, params: Mapping[str, Any]) -> None:
        self.client.log_batch(
            run, params=[Param(name, str(value)) for name, value in params.items()]
        )

    def log_metrics(self, run: str, values: Mapping[str, float], *, step: int = 0) -> None:
        self.client.log_batch(run, metrics=_metrics(values, step, None))

    def log_history(
        self, run: str, rows: Sequence[Mapping[str, float]], *, when: float | None = None
    ) -> None:
        """Curves: each row's figures at the step that its `epoch` says.

        when: in seconds since 1970 (default: now).
        """
        metrics = [
            metric
            for row in rows
            for metric in _metrics(_curve_points(row), int(row["epoch"]), when)
        ]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run, metrics=metrics[start : start + BATCH])

    def steps(self, run: str, metric: str) -> set[int]:
        return {point.step for point in self.client.get_metric_history(run, metric)}

    def log_inputs(self, run: str, hashes: Mapping[str, str]) -> None:
        """Data sets by path, each with DVC's content hash as its identity."""
        inputs = [
            DatasetInput(
                Dataset(
                    path, md5.removesuffix(".dir"), "dvc", json.dumps({"path": path, "md5": md5})
                ),
                [InputTag("mlflow.data.context", path.rsplit("/", 1)[-1])],
            )
            for path, md5 in hashes.items()
        ]
        if inputs:
            self.client.log_inputs(run, inputs)

    def write(self, parent: str, part: Part) -> None:
        """A whole child run. It ends last, so a part that has ended is whole."""
        run = self.create(
            part.name, {PARENT: parent, PART: part.key, **part.tags}, started=part.started
        )
        self.log_params(run, part.params)
        self.log_history(run, part.history, when=part.ended)
        self.end(run, STATES[part.state], ended=part.ended)


def _metrics(values: Mapping[str, float], step: int, when: float | None) -> list[Metric]:
    milliseconds = int((when or time.time()) * 1000)
    return [Metric(name, float(value), milliseconds, step) for name, value in values.items()]


def _curve_points(row: Mapping[str, float]) -> dict[str, float]:
    """An epoch's figures by their names in MLflow, where `lr` is a param already.

    Of the metrics that runs share, MLflow's Compare page draws the one that was logged first.
    """
    points = {SCORE: row[SCORE]}
    for name, value in row.items():
        if name != "epoch":
            points["learning_rate" if name == "lr" else name] = value
    return points


class Gauge:
    """What MLflow calls system metrics: processors, memory, disk, network and any GPUs."""

    def __init__(self) -> None:
        self._monitor: Any = SystemMetricsMonitor("")  # type: ignore[no-untyped-call]
        # seconds, MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
        self.interval: float = self._monitor.sampling_interval

    def read(self) -> dict[str, float]:
        self._monitor.collect_metrics()
        values = {
            f"system/{name}": float(value)
            for name, value in self._monitor.aggregate_metrics().items()
        }
        for part in self._monitor.monitors:
            part.clear_metrics()
        return values
