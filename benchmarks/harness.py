"""What the benchmarks share: data, the Keras side in a venv of its own, results as JSON and as one page of tables."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

# As the command line has it; set before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import numpy as np

from imagetrail import datasets
from imagetrail.samples import Samples, make_index

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
KERAS = ("tensorflow-cpu==2.21.0", "keras==3.15.1")

Figure = dict[str, Any]


def load(name: str) -> tuple[Samples, Samples]:
    """The official train and test sets of a data set, 28×28 grey."""
    folder = CACHE / name
    if not folder.exists():
        datasets.fetch(name, HERE, folder)
    pictures = datasets.read(name, folder)
    data = datasets.Data(name=name, path=".", image_size=28, channels=1)
    images = np.stack(list(pictures.readable(range(len(pictures)), data)))
    splits = np.array(pictures.splits)
    parts = [np.flatnonzero(splits == split) for split in ("train", "test")]
    train, test = (_samples(images[part], pictures.labels[part], pictures.classes) for part in parts)
    return train, test


def _samples(images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Samples:
    ids = [str(number) for number in range(len(images))]
    return Samples(images, make_index(ids=ids, labels=labels, origin="real", sources=ids), tuple(classes))


def arrays(name: str) -> Path:
    """The same data set as one .npz file, for the other side."""
    path = CACHE / f"{name}.npz"
    if not path.exists():
        train, test = load(name)
        np.savez(path, x_train=train.images, y_train=train.labels, x_test=test.images, y_test=test.labels)
    return path


def keras(script: str, *arguments: str) -> dict[str, float]:
    """What a script says that runs with TensorFlow: its JSON, and the seconds it took in all."""
    python = CACHE / "tensorflow" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *KERAS], check=True)
    return said_by([str(python), str(HERE / script), *arguments])


def said_by(command: Sequence[str]) -> dict[str, float]:
    """What a process says in its last line, as JSON, and how many seconds it took from start to end."""
    before = time.perf_counter()
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(list(command), check=True, stdout=subprocess.PIPE, text=True, env=quiet)
    said: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return said | {"process_seconds": time.perf_counter() - before}


def figure(ours: Sequence[float], peer: Sequence[float], unit: str, *, more_is_better: bool = False, **facts: Any) -> Figure:
    """Medians of both sides, and their ratio: above 1 where ours is better."""
    mine, theirs = statistics.median(ours), statistics.median(peer)
    ratio = mine / theirs if more_is_better else theirs / mine
    return {
        "ours": mine,
        "peer": theirs,
        "ratio": ratio,
        "unit": unit,
        "repeats": {"ours": list(ours), "peer": list(peer)},
        **facts,
    }


def accuracy(ours: Sequence[float], peer: Sequence[float], **facts: Any) -> Figure:
    """Means of both sides' top-1, and the ratio of their errors: above 1 where ours is better."""
    mine, theirs = statistics.mean(ours), statistics.mean(peer)
    spread = statistics.stdev(ours) if len(ours) > 1 else 0.0
    repeats = {"ours": list(ours), "peer": list(peer)}
    return {
        "ours": mine,
        "peer": theirs,
        "ratio": (1 - theirs) / (1 - mine),
        "unit": "top-1",
        "sd": spread,
        "repeats": repeats,
        **facts,
    }


def write(name: str, about: str, figures: dict[str, Figure]) -> None:
    """Keeps the figures of a benchmark, and writes the page of all of them anew."""
    versions = {package: version(package) for package in ("torch", "mlflow", "numpy")} | {
        "python": platform.python_version()
    }
    result = {"about": about, "figures": figures, "machine": _machine(), "versions": versions}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(_table(name, result))
    pages = [_table(path.stem, json.loads(path.read_text())) for path in sorted((HERE / "results").glob("*.json"))]
    said = "Written by `make bench`. Both sides in one run; medians (of accuracies, means), with the range of ours."
    (HERE / "README.md").write_text("\n\n".join(["# Benchmarks", said, *pages]) + "\n")


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _table(name: str, result: dict[str, Any]) -> str:
    rows = ["| figure | ours | range | peer | ratio |", "|---|---|---|---|---|"]
    for label, found in result["figures"].items():
        values = found["repeats"]["ours"] if isinstance(found["repeats"], dict) else [pair[0] for pair in found["repeats"]]
        unit = found["unit"]
        low, high = _shown(min(values), unit), _shown(max(values), unit)
        ours, peer = _shown(found["ours"], unit), _shown(found["peer"], unit)
        rows.append(f"| {label} | {ours} | {low} – {high} | {peer} | {found['ratio']:.2f} |")
    return "\n".join([f"## {name}", "", result.get("about", ""), "", *rows])


def _shown(value: float, unit: str) -> str:
    if unit == "top-1":
        return f"{value:.2%}"
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"
