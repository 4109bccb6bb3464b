"""Search and comparison on a cluster whose nodes see nothing of the project's folder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Nodes
from project import Project, finished, wait_for
from training_project import RECIPE, TrainingProject

TUNE = {
    "trials": 4,
    "batch": 2,
    "rungs": [1, 2],
    "images": None,
    "space": {"activation": ["relu", "silu"], "lr": {"low": 0.05, "high": 0.2}},
}
COMPARE = {
    "seeds": 3,
    "remedies": {"epochs": 1, "images": None, "tried": {"augmented": 0.3}},
    "sets": {
        "networks": {
            "epochs": 1,
            "images": 400,
            "reference": "linear",
            "arms": {"linear": {"model": "linear"}, "mlp": {"model": "mlp"}},
        }
    },
}


class Searched(TrainingProject):
    """A folder with all that `imagetrail tune` and `imagetrail compare` read."""

    def build(self) -> None:
        super().build()
        self.set(recipe=RECIPE | {"model": "mlp", "repeat_to": 8000}, tune=TUNE, compare=COMPARE)

    def runs(self, stage: str, **environment: str) -> dict[str, str]:
        """Hashes of what the stage leaves."""
        self.stage = stage
        self.complete(**environment)
        return self.outs()

    def legs(self) -> int:
        return len([*self.root.glob(".imagetrail/trainings/*/history.csv")])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Searched]:
    made = Searched(tmp_path / "project")
    made.root.mkdir(exist_ok=True)
    made.build()
    yield made
    made.end()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """A cluster whose head has started, and has nobody to work; it sees no project."""
    pytest.importorskip("ray", reason="needs the extra ray")
    for name in ("nodes", "project"):
        (tmp_path / name).mkdir(exist_ok=True)
    made = Nodes(tmp_path / "nodes", hidden=tmp_path / "project")
    try:
        made.wait_for("head")
        yield made
    finally:
        made.end()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_on_a_cluster_without_a_shared_folder_nodes_come_and_go_and_the_bytes_stay(
    project: Searched, nodes: Nodes
) -> None:
    alone = {stage: project.runs(stage) for stage in ("tune", "compare")}
    project.forget()
    project.stage = "tune"
    project.forget()

    process = project.start(**nodes.joined)  # no node can work yet
    nodes.add("lost")
    wait_for(lambda: project.legs() > 0, process)
    assert not nodes.sees("lost", project.root / "params.yaml")
    nodes.kill("lost")
    assert project.legs() < TUNE["trials"]
    nodes.add("next")
    code, said, told = finished(process)
    assert code == 0, said + told
    assert project.outs() == alone["tune"]

    nodes.add("another")
    nodes.wait_for("another")
    assert project.runs("compare", **nodes.joined) == alone["compare"]
    for name in ("lost", "next", "another"):
        assert [*nodes.cache(name).glob("*/content/images.npy")], f"node {name} was not used"


@pytest.mark.slow
@pytest.mark.parametrize(("share", "devices"), [("0.5", {"0"}), ("", {"", "None"})])
def test_jobs_share_a_gpu_if_they_are_told_to(nodes: Nodes, share: str, devices: set[str]) -> None:
    nodes.add("gpu", **{"num-cpus": 2, "num-gpus": 1})
    script = """
import os
from pathlib import Path
from imagetrail.compute import parallel
for device in parallel.spread(os.getenv, ["CUDA_VISIBLE_DEVICES"] * 3, reads=[], keeps=Path):
    print(f"device {device}")
"""
    made = Project(nodes.folder, **nodes.joined, IMAGETRAIL_GPUS=share)
    said = made.run(sys.executable, "-c", script)
    found = [line.partition(" ")[2] for line in said.splitlines() if line.startswith("device")]
    assert len(found) == 3 and set(found) <= devices
