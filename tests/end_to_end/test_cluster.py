"""Search and comparison on a cluster whose nodes see nothing of the project's folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Nodes
from project import finished, wait_for
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
def project(tmp_path: Path) -> Searched:
    made = Searched(tmp_path / "project")
    made.root.mkdir()
    made.build()
    return made


@pytest.fixture
def nodes(tmp_path: Path, project: Searched) -> Iterator[Nodes]:
    pytest.importorskip("ray", reason="needs the extra ray")
    (tmp_path / "nodes").mkdir()
    made = Nodes(tmp_path / "nodes", hidden=project.root)
    try:
        yield made
    finally:
        made.end()
        project.end()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_on_a_cluster_without_a_shared_folder_nodes_come_and_go_and_the_bytes_stay(
    project: Searched, nodes: Nodes
) -> None:
    alone = {stage: project.runs(stage) for stage in ("tune", "compare")}
    project.forget()
    project.stage = "tune"
    project.forget()
    there = {"IMAGETRAIL_BACKEND": "ray", "RAY_ADDRESS": nodes.address} | nodes.secret

    nodes.wait_for("head")
    process = project.start(**there)  # no node can work yet
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
    assert project.runs("compare", **there) == alone["compare"]
    for name in ("lost", "next", "another"):
        assert [*nodes.cache(name).glob("*/content/images.npy")], f"node {name} was not used"
