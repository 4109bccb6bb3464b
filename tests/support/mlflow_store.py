"""What MLflow's stores hold, and real servers on ports of their own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from project import kill, wait_for

if TYPE_CHECKING:
    from mlflow import MlflowClient  # noqa: TID251  tests look at what users see

ALONE = ("seconds", "peak_rss_bytes")  # metrics of one run of a stage, not of what it found


def runs(client: "MlflowClient") -> list[Any]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, max_results=1000))


def said_of(client: "MlflowClient") -> list[tuple[Any, ...]]:
    """What a store knows of its runs and files know as well: names, states, params, curves."""
    names = {run.info.run_id: run.info.run_name for run in runs(client)}
    rows = []
    for run in runs(client):
        curves = {}
        for name in run.data.metrics:
            if name not in ALONE and not name.startswith("system/"):
                points = client.get_metric_history(run.info.run_id, name)
                curves[name] = sorted({(point.step, point.value) for point in points})
        parent = names.get(run.data.tags.get("mlflow.parentRunId", ""), "")
        params = sorted(run.data.params.items())
        rows.append((parent, run.info.run_name, run.info.status, params, sorted(curves.items())))
    return sorted(rows, key=repr)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def serving(
    *words: str, port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command of MLflow that serves at a port; its log is in the folder."""
    folder.mkdir(exist_ok=True)
    bin_folder = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PATH": bin_folder}
    env |= environment or {}
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            cwd=folder,
            env=env,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        wait_for(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        kill(process)


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A tracking server on sqlite: its address and its process."""
    port = free_port()
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    words += ["--artifacts-destination", str(folder / "artifacts")]
    with serving(*words, port=port, folder=folder) as process:
        yield f"http://127.0.0.1:{port}", process
