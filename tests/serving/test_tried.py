"""What is said of maps is what the stage found."""

import json
from pathlib import Path

import pytest

from imagetrail.base.errors import UserError
from imagetrail.serving import tried
from imagetrail.stages.explain.attribution import METHODS

FIGURES = {"passed": True, "deletion_over_other": 0.2721, "deletion_over_other_low": 0.2293}


def write(path: Path, passed: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    methods = {"occlusion": FIGURES | {"passed": passed}}
    path.write_text(json.dumps({"pictures": 100, "methods": methods}))


def test_the_stage_tries_the_maps_that_are_shown_elsewhere() -> None:
    assert next(iter(METHODS)) == tried.METHOD


@pytest.mark.parametrize("place", ["champion/model/scores.json", "artifacts/explain/scores.json"])
def test_figures_are_found_beside_the_champion_or_in_the_stage(tmp_path: Path, place: str) -> None:
    write(tmp_path / place)
    model = "champion/model/model.onnx" if "champion" in place else "artifacts/export/model.onnx"
    found = tried.of(tmp_path / model)
    assert not found.failed and "27.2 points more" in found.text and "22.9" in found.text


def test_maps_that_failed_are_not_to_be_shown(tmp_path: Path) -> None:
    write(tmp_path / "artifacts/explain/scores.json", passed=False)
    found = tried.of(tmp_path / "artifacts/export/model.onnx")
    assert found.failed and "failed their test" in found.text


def test_another_network_is_not_believed_by_the_figures_of_its_teacher(tmp_path: Path) -> None:
    write(tmp_path / "artifacts/explain/scores.json")
    found = tried.of(tmp_path / "artifacts/export/student/model.onnx")
    assert not found.failed and "was not tried" in found.text


@pytest.mark.parametrize("content", ["{", "[]", '{"methods": {"occlusion": {"passed": true}}}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(UserError, match=r"scores\.json"):
        tried.of(tmp_path / "model.onnx")
