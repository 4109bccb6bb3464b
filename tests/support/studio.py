"""A repository whose stages tune, train and compare write made-up results: real DVC and MLflow, but no training."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient  # noqa: TID251  tests look at what users see

STAGES = ("tune", "train", "compare")
FILES = {
    "tune": ("trials.csv", "history.csv", "recipe.json"),
    "train": ("history.csv", "recipe.json", "metrics.json"),
    "compare": ("results.csv", "history.csv", "recipes.json", "ranking.json"),
}
RECIPE = ("model", "activation", "lr", "epochs", "flip")

SCRIPT = """
import os, signal, sys, time
from pathlib import Path

from imagetrail.base.files import write_csv, write_json
from imagetrail.tracking import live, store

stage, here, started = sys.argv[1], Path("artifacts") / sys.argv[1], time.time()
recipe = {"model": "fast", "activation": "relu", "lr": 0.1, "epochs": 3, "flip": True}
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as the command line has it
signal.signal(signal.SIGINT, signal.default_int_handler)  # even if the tests run in the background


def curve(height, epochs=3):
    columns = ("epoch", "train_loss", "valid_loss", "valid_top1", "lr")
    return [dict(zip(columns, (epoch, 2 / epoch, 1 / epoch, height - 0.1 / epoch, 0.1))) for epoch in range(1, epochs + 1)]


def tune(log):
    rows, curves = [], []
    for number, (activation, epochs) in enumerate((("relu", 3), ("silu", 1), ("tanh", 3), ("silu", 0))):
        history = curve(0.9 - 0.01 * number, epochs)
        state = {0: "FAIL", 1: "PRUNED", 3: "COMPLETE"}[epochs]
        value = history[-1]["valid_top1"] if history else ""
        row = {"number": number, "state": state, "epochs": epochs, "value": value}
        rows.append(row | {"activation": activation, "lr": 0.1 + number})
        curves += [{"number": number, **row} for row in history]
        log.part(store.trial_part(rows[-1], recipe, history), (time.time() - 2, time.time() - 1))
    write_csv(here / "trials.csv", rows)
    write_csv(here / "history.csv", curves)
    write_json(here / "recipe.json", recipe)


def train(log):
    rows = []
    for row in curve(0.95):
        rows.append(row)
        log.epoch(row)
        if row["epoch"] == 2 and Path("wait").exists():
            Path("waiting").touch()
            while Path("wait").exists():
                time.sleep(0.02)
        if row["epoch"] == 2 and Path("fail").exists():
            raise ValueError("out of luck")
    write_csv(here / "history.csv", rows)
    write_json(here / "recipe.json", recipe)
    write_json(here / "metrics.json", {"valid_top1": 0.92, "epochs": 3, "parameters": 1000, "flops_forward": 5000})


def compare(log):
    rows, curves = [], []
    for seed in (0, 1):
        for arm, height in (("relu", 0.9), ("silu", 0.92)):
            history = curve(height + 0.001 * seed)
            rows.append({"set": "activations", "arm": arm, "seed": seed, "valid_top1": history[-1]["valid_top1"]})
            curves += [{"set": "activations", "arm": arm, "seed": seed, **row} for row in history]
            log.part(store.arm_part(rows[-1], recipe | {"activation": arm}, history))
    write_csv(here / "results.csv", rows)
    write_csv(here / "history.csv", curves)
    write_json(here / "recipes.json", {"activations": {arm: recipe | {"activation": arm} for arm in ("relu", "silu")}})
    write_json(here / "ranking.json", {"verdict": "silu is better."})


with live.running(stage, recipe if stage == "train" else {"seed": 0}) as log:
    globals()[stage](log)
write_json(here / "timing.json", {"started": started, "seconds": time.time() - started})
"""


def _described(stage: str) -> str:
    outs = "".join(f"      - artifacts/{stage}/{file}\n" for file in FILES[stage])
    command = f"    cmd: {sys.executable} stage.py {stage}\n"
    return f"  {stage}:\n{command}    deps: [stage.py]\n    params: [seed]\n    outs:\n{outs}"


class Studio:
    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        (root / "stage.py").write_text(SCRIPT)
        (root / "dvc.yaml").write_text("stages:\n" + "".join(map(_described, STAGES)))
        (root / "params.yaml").write_text("seed: 0\ndata: {name: toy}\n")
        (root / ".gitignore").write_text("mlflow.db*\nmlartifacts/\n.*.partial\n")
        for words in (
            ["init", "--quiet"],
            ["config", "user.name", "Ada"],
            ["config", "user.email", "ada@example.org"],
        ):
            self.run("git", *words)
        self.run(sys.executable, "-m", "dvc", "init", "--quiet")

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        env |= {"DVC_NO_ANALYTICS": "1", **environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(
            command, cwd=self.root, env=env, text=True, start_new_session=True, **pipes
        )

    def run(self, *command: str, ok: bool = True, **environment: str) -> str:
        process = self.start(*command, **environment)
        said, _ = process.communicate(timeout=300)
        assert (process.returncode == 0) == ok, said
        return said

    def repro(self, *words: str, **environment: str) -> str:
        return self.run(sys.executable, "-m", "dvc", "repro", *words, **environment)

    def publish(self, *, ok: bool = True, **environment: str) -> str:
        return self.run(sys.executable, "-m", "imagetrail.cli", "publish", ok=ok, **environment)

    def train_until_it_waits(self, **environment: str) -> subprocess.Popen[str]:
        """The stage train, alone, with two of its three epochs done."""
        (self.root / "wait").touch()
        process = self.start(sys.executable, "stage.py", "train", **environment)
        until(lambda: (self.root / "waiting").exists() or process.poll() is not None)
        return process

    def let_go(self) -> None:
        (self.root / "wait").unlink()

    def outs(self) -> dict[str, bytes]:
        return {
            f"{stage}/{file}": (self.root / "artifacts" / stage / file).read_bytes()
            for stage in STAGES
            for file in FILES[stage]
        }

    def client(self, uri: str = "") -> "MlflowClient":
        from mlflow import MlflowClient  # noqa: TID251

        return MlflowClient(uri or f"sqlite:///{self.root / 'mlflow.db'}")

    def copy(self, root: Path) -> "Studio":
        made = object.__new__(Studio)
        made.root = shutil.copytree(self.root, root, symlinks=True)
        return made


def until(happened: Callable[[], Any]) -> Any:
    """What it says, once that is true."""
    while not (found := happened()):
        time.sleep(0.05)
    return found


def runs(client: "MlflowClient") -> list[Any]:
    return list(
        client.search_runs(
            [experiment.experiment_id for experiment in client.search_experiments()],
            max_results=1000,
        )
    )


def said_of(client: "MlflowClient") -> list[tuple[Any, ...]]:
    """All that a store says of its runs which files can say as well, sorted: names, states, params, and every curve."""
    found = runs(client)
    names = {run.info.run_id: run.info.run_name for run in found}
    rows = []
    for run in found:
        curves = {
            name: sorted(
                {
                    (point.step, point.value)
                    for point in client.get_metric_history(run.info.run_id, name)
                }
            )
            for name in run.data.metrics
            if name != "seconds"
            and not name.startswith("system/")  # those are of a run, not of its results
        }
        parent = names.get(run.data.tags.get("mlflow.parentRunId", ""), "")
        rows.append(
            (
                parent,
                run.info.run_name,
                run.info.status,
                sorted(run.data.params.items()),
                sorted(curves.items()),
            )
        )
    return sorted(rows, key=repr)


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real MLflow server: its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder.mkdir(exist_ok=True)
    words = [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *words,
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
    ]
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: _answers(port) or process.poll() is not None)
        yield f"http://127.0.0.1:{port}", process
    finally:
        kill(process)


def kill(process: subprocess.Popen[Any]) -> None:
    """Kills a process and all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
