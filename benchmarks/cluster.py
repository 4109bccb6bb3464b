"""Search on a Ray cluster without a shared folder: what twice the cores gain, what travel costs.

`two-nodes` is `imagetrail tune` on two nodes of one core each; the peer is one such node. The
nodes are on this machine, in namespaces from which the project is hidden: data goes through Ray's
object store, weights come back. The first trials wait until workers have started and data has come.
`copied` is a folder of pictures on its way to a node, hashed on both sides; the peer is a plain
copy on the same disk.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.numpy
import yaml
from harness import HERE, figure, write
from streaming import make

sys.path.insert(0, str(HERE.parent / "tests/support"))
from nodes import Nodes

from imagetrail.base import paths
from imagetrail.compute import parallel
from imagetrail.tracking.opening import open_store

PICTURES, JUDGED = 4000, 1000
TUNE = {
    "trials": 48,
    "batch": 16,
    "rungs": [2, 6],
    "images": None,
    "known": [],
    "space": {"activation": ["relu", "silu"], "lr": {"low": 0.01, "high": 0.1, "log": True}},
}
RECIPE = {"model": "fast", "width": 0.25, "repeat_to": 0, "ema": 0.9}
GIGABYTE = 80_000  # pictures of 64×64 in colour: 0.98 GB


def project(root: Path) -> None:
    """A folder with all that `imagetrail tune` reads."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(HERE.parent / name, root)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["recipe"] |= RECIPE
    params["tune"] |= TUNE
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    sizes = dict.fromkeys((paths.AUGMENTED, paths.SYNTHETIC, paths.RELATED), 0)
    for folder, count in (sizes | {paths.TRAIN: PICTURES, paths.VALID: JUDGED}).items():
        make(root / folder, count)
    (root / "artifacts/pretrain").mkdir(parents=True)
    safetensors.numpy.save_file({}, root / "artifacts/pretrain/weights.safetensors")
    open_store(root)  # before the clock runs: to make MLflow's database takes seconds


@contextmanager
def cluster(folder: Path, hidden: Path, count: int) -> Iterator[dict[str, str]]:
    """A cluster of so many nodes; yields the variables by which a driver joins it."""
    folder.mkdir()
    nodes = Nodes(folder, hidden)
    try:
        nodes.wait_for("head")
        for number in range(count):
            nodes.add(str(number))
            nodes.wait_for(str(number))
        yield nodes.joined
    finally:
        nodes.end()


def two_nodes(folder: Path) -> dict[str, Any]:
    root = folder / "project"
    root.mkdir()
    project(root)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    trials = set()
    for turn, count in enumerate((1, 2)):
        shutil.rmtree(root / ".imagetrail", ignore_errors=True)
        with cluster(folder / f"nodes-{turn}", root, count) as joined:
            command = [sys.executable, "-m", "imagetrail.cli", "tune"]
            environment = os.environ | joined
            subprocess.run(
                command, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL
            )
        timing = json.loads((root / "artifacts/tune/timing.json").read_text())
        seconds[count].append(timing["seconds"])
        trials.add((root / "artifacts/tune/trials.csv").read_bytes())
    return {"two-nodes": figure(seconds[2], seconds[1], "s", same_bytes=len(trials) == 1)}


def copied(folder: Path) -> dict[str, Any]:
    """Seconds for a gigabyte; the job itself does nothing."""
    make(folder / "pictures", GIGABYTE)
    os.chdir(folder)
    with cluster(folder / "nodes-copied", folder / "pictures", 1) as joined:
        os.environ.update(joined)
        import ray  # it reads how a cluster is joined when it is imported

        spread = partial(parallel.spread, abs, [0], keeps=lambda _: Path("none"))
        list(spread(reads=[]))  # the worker has started
        before = time.perf_counter()
        list(spread(reads=[Path("pictures")]))
        ours = time.perf_counter() - before
        ray.shutdown()  # a driver ends with its cluster
    before = time.perf_counter()
    shutil.copytree(folder / "pictures", folder / "copy")
    return {"copied": figure([ours], [time.perf_counter() - before], "s")}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for measured in (copied, two_nodes):
            write("cluster", (__doc__ or "").strip(), measured(Path(folder)))


if __name__ == "__main__":
    main()
