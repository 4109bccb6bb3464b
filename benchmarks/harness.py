"""What the benchmarks share: data, Keras in a venv of its own, results as JSON and as one page."""

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

from imagetrail.base.samples import Samples, make_index
from imagetrail.data import datasets
from imagetrail.data.decoding import Target

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
KERAS = ("tensorflow-cpu==2.21.0", "keras==3.15.1")

Figure = dict[str, Any]

ABOUT = """# Benchmarks

Each section is written by a script: `make bench` runs all but those of scarcity and transfer, which
`make bench-scarcity` runs, and photos, which `make bench-photos` runs; `make bench-inference` and
`make bench-search` run one each.

Both sides were measured in one run on the same machine, without a GPU: {}. *Ours* and *peer* are
medians over the repetitions, of accuracies means; *range* is that of ours. *Ratio* is above 1 where
ours is better: the peer's time, memory or epochs over ours; our rate over the peer's; of accuracies
the peer's errors over ours."""


def load(name: str) -> tuple[Samples, Samples]:
    """The official train and test sets of a data set, 28×28 grey."""
    kept = np.load(arrays(name))
    classes = tuple(str(number) for number in range(10))

    def samples(part: str) -> Samples:
        labels = kept[f"y_{part}"]
        ids = [str(number) for number in range(len(labels))]
        index = make_index(ids=ids, labels=labels, origin="real", sources=ids)
        return Samples(kept[f"x_{part}"], index, classes)

    return samples("train"), samples("test")


def arrays(name: str) -> Path:
    """A data set as one .npz file, which both sides read."""
    path = CACHE / f"{name}.npz"
    if not path.exists():
        datasets.fetch(name, CACHE / name)
        pictures = datasets.read(name, CACHE / name)
        target = Target((28, 28, 1))
        images = np.stack(list(pictures.readable(range(len(pictures)), target)))
        train = np.array(pictures.splits) == "train"
        both = {"x_train": images[train], "x_test": images[~train]}
        np.savez(path, **both, y_train=pictures.labels[train], y_test=pictures.labels[~train])
    return path


def keras(script: str, *arguments: str) -> dict[str, float]:
    """What a script prints that runs with TensorFlow: its JSON, and the seconds it took in all."""
    return printed_by([str(environment("tensorflow", KERAS)), str(HERE / script), *arguments])


def environment(name: str, requirements: Sequence[str], folder: Path = CACHE) -> Path:
    """The Python of a virtual environment in `folder` that has these, made if it is not there."""
    home = folder / name
    if not (home / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *requirements], check=True)
        (home / "complete").touch()
    return home / "bin" / "python"


def printed_by(command: Sequence[str]) -> dict[str, Any]:
    """What a process prints last, as JSON, and how many seconds it took from start to end."""
    before = time.perf_counter()
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(list(command), check=True, stdout=subprocess.PIPE, text=True, env=quiet)
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed | {"process_seconds": time.perf_counter() - before}


def figure(
    ours: Sequence[float],
    peer: Sequence[float],
    unit: str,
    *,
    more_is_better: bool = False,
    **facts: Any,
) -> Figure:
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
    """Keeps the figures of a benchmark, beside those of other runs, and writes the page anew."""
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    figures = (json.loads(path.read_text())["figures"] if path.exists() else {}) | figures
    versions = {package: version(package) for package in ("torch", "mlflow", "numpy")} | {
        "python": platform.python_version()
    }
    result = {"about": about, "figures": figures, "machine": _machine(), "versions": versions}
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(_table(name, result))
    results = {
        path.stem: json.loads(path.read_text())
        for path in sorted((HERE / "results").glob("*.json"))
    }
    machines = "; ".join(sorted({result["machine"] for result in results.values()}))
    pages = [_table(name, result) for name, result in results.items()]
    (HERE / "README.md").write_text("\n\n".join([ABOUT.format(machines), *pages]) + "\n")


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _table(name: str, result: dict[str, Any]) -> str:
    rows = ["| figure | ours | range | peer | ratio |", "|---|---|---|---|---|"]
    for label, found in result["figures"].items():
        values, unit = found["repeats"]["ours"], found["unit"]
        low, high = _shown(min(values), unit), _shown(max(values), unit)
        ours, peer = _shown(found["ours"], unit), _shown(found["peer"], unit)
        rows.append(f"| {label} | {ours} | {low} – {high} | {peer} | {found['ratio']:.2f} |")
    return "\n".join([f"## {name}", "", result["about"], "", *rows])


def _shown(value: float, unit: str) -> str:
    if unit == "top-1":
        return f"{value:.2%}"
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"
