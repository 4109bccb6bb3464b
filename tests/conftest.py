"""Tiny Samples folders, real and on disk, for every test that needs pictures."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_onnx
import torch
from studio import Studio

from imagetrail.base import samples
from imagetrail.base.samples import Images, Samples


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Toy networks gain nothing from threads, and on a busy machine threads that wait for one another crawl."""
    torch.set_num_threads(1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what tests have counted, which is more than that it was enough."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


def write_samples(
    root: Path,
    name: str,
    images: Images,
    labels: Sequence[int],
    classes: Sequence[str] = ("left", "right"),
) -> Samples:
    ids = [f"{name}{i}" for i in range(len(images))]
    index = samples.make_index(
        ids=ids,
        labels=labels,
        origin="real",
        sources=ids,
        fingerprints=[samples.fingerprint(image) for image in images],
    )
    samples.write(root / name, [images], index, classes=classes, shape=images.shape[1:])
    return samples.read(root / name)


def write_toy(
    root: Path,
    name: str = "toy",
    *,
    count: int = 64,
    size: int = 8,
    channels: int = 1,
    seed: int = 0,
) -> Samples:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (count, size, size, channels), np.uint8)
    labels = np.arange(count) % 2
    images[labels == 0, :, : size // 2] += 120
    images[labels == 1, :, size // 2 :] += 120
    return write_samples(root, name, images, labels)


@pytest.fixture
def make_samples(tmp_path: Path) -> Callable[..., Samples]:
    """`make_samples(name, images, labels)` writes a Samples folder below tmp_path and opens it."""
    return partial(write_samples, tmp_path)


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Samples]:
    """`toy(name)` writes dark noise, bright in the left or in the right half: two classes that any model can tell."""
    return partial(write_toy, tmp_path)


STAGE = "  {0}:\n    cmd: mkdir -p {1} && cp -r given/{0}/. {1}\n    deps: [given/{0}]\n    outs: [{2}]\n"
DVC_YAML = (
    "stages:\n"
    + STAGE.format("split", "data/split", "data/split/train, data/split/valid, data/split/test")
    + STAGE.format(
        "evaluate", "artifacts/evaluate", "artifacts/evaluate/metrics.json: {cache: false}"
    )
    + STAGE.format(
        "export",
        "artifacts/export",
        "artifacts/export/model.onnx, artifacts/export/reference.npz, artifacts/export/trained_on.parquet",
    )
    + "    metrics: [artifacts/export/export.json: {cache: false}]\n"
    + f"  gate:\n    cmd: {sys.executable} gate.py\n    deps: [champion, given/gate, artifacts/export/model.onnx]\n"
    + "    outs: [artifacts/gate/disagreements.png]\n    metrics: [artifacts/gate/decision.json: {cache: false}]\n"
)
GATE = """
import hashlib, json, pathlib
root = pathlib.Path("artifacts/gate")
root.mkdir(parents=True, exist_ok=True)
def sha256(path): return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() if pathlib.Path(path).exists() else None
challenger, champion = sha256("artifacts/export/model.onnx"), sha256("champion/model/model.onnx")
verdict = "HOLD" if challenger == champion else pathlib.Path("given/gate").read_text()
facts = {"decision": verdict, "reason": "so it is", "checks": [], "challenger": challenger, "champion": champion}
(root / "decision.json").write_text(json.dumps(facts))
(root / "disagreements.png").write_bytes(b"a picture")
"""


class Workshop:
    """A repository with real Git and DVC whose stages copy what is given, so that a new model takes a second."""

    def __init__(self, root: Path, toy: Callable[..., Samples]) -> None:
        self.root = root
        (root / "given").mkdir(parents=True)
        (root / "champion").mkdir()
        (root / "champion" / "README.md").write_text("The champion.\n")
        for part, count in (("train", 24), ("valid", 8), ("test", 8)):
            toy(part, count=count)
            shutil.copytree(root.parent / part, root / "given" / "split" / part)
        (root / "given" / "evaluate").mkdir()
        (root / "given" / "evaluate" / "metrics.json").write_text(
            '{"top1": 0.9, "top1_low": 0.8, "top1_high": 1.0, "n": 8}'
        )
        (root / "dvc.yaml").write_text(DVC_YAML)
        (root / "gate.py").write_text(GATE)
        (root / "params.yaml").write_text("data: {name: toy}\n")
        (root / ".gitignore").write_text(".imagetrail/\nmlflow.db\nmlartifacts/\n.*.partial\n")
        for words in (
            ["init", "--quiet"],
            ["config", "user.name", "Ada"],
            ["config", "user.email", "ada@example.org"],
        ):
            self.run("git", *words)
        self.run(sys.executable, "-m", "dvc", "init", "--quiet")

    def run(self, *command: str, ok: bool = True, **environment: str) -> str:
        env = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        env |= {"DVC_NO_ANALYTICS": "1", **environment}
        done = subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def dvc(self, *words: str, ok: bool = True) -> str:
        return self.run(sys.executable, "-m", "dvc", *words, ok=ok)

    def imagetrail(self, *words: str, ok: bool = True, **environment: str) -> str:
        return self.run(sys.executable, "-m", "imagetrail.cli", *words, ok=ok, **environment)

    def train(self, seed: int, verdict: str = "PROMOTE") -> str:
        """A new challenger, judged; returns its sha256."""
        folder = self.root / "given" / "export"
        folder.mkdir(exist_ok=True)
        tiny_onnx.write(folder / "model.onnx", tiny_onnx.noise(seed=seed))
        pq.write_table(
            pa.table({"id": [f"train{number}" for number in range(24)]}),
            folder / "trained_on.parquet",
        )
        np.savez(folder / "reference.npz", features=np.zeros((2, 3), np.float32))
        (folder / "export.json").write_text(
            json.dumps([{"file": "model.onnx", "format": "float32", "chosen": True}])
        )
        (self.root / "given" / "gate").write_text(verdict)
        self.dvc("repro", "--quiet")
        return hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()

    def commit(self, message: str = "more") -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def copy(self, root: Path) -> "Workshop":
        shutil.copytree(self.root, root, symlinks=True)
        made = object.__new__(Workshop)
        made.root = root
        return made


@pytest.fixture(scope="session")
def workshop_once(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    made = Workshop(folder / "repo", partial(write_toy, folder))
    made.train(1)
    made.commit("first")
    return made


@pytest.fixture
def workshop(workshop_once: Workshop, tmp_path: Path) -> Workshop:
    """A repository with one challenger that may be promoted, to be changed."""
    return workshop_once.copy(tmp_path / "repo")


@pytest.fixture(scope="session")
def studio_once(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    made = Studio(tmp_path_factory.mktemp("studio") / "repo")
    made.repro()
    made.publish()
    return made


@pytest.fixture
def studio(studio_once: Studio, tmp_path: Path) -> Studio:
    """A repository whose made-up search, training and comparison are in MLflow, to be changed."""
    return studio_once.copy(tmp_path / "repo")
