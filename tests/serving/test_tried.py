"""What is said of maps is what the stage found."""

import json
from pathlib import Path

import pytest
import tiny_onnx

from imagetrail.base.errors import UserError
from imagetrail.serving import onnx_model, tried
from imagetrail.serving.tried import Tried
from imagetrail.stages.explain.attribution import METHODS

FIGURES = {"passed": True, "deletion_over_other": 0.2721, "deletion_over_other_low": 0.2293}


def write(path: Path, passed: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    methods = {"occlusion": FIGURES | {"passed": passed}}
    path.write_text(json.dumps({"weights": "w", "pictures": 100, "methods": methods}))


def told(file: Path, **metadata: str) -> Tried:
    """Of a file whose network has the weights that were tried, if nothing else is said."""
    made = tiny_onnx.noise(**({"weights": "w"} | metadata))
    return tried.of(file, onnx_model.load(tiny_onnx.write(file, made)))


def test_the_stage_tries_the_maps_that_are_shown_elsewhere() -> None:
    assert next(iter(METHODS)) == tried.METHOD


@pytest.mark.parametrize("place", ["champion/model/scores.json", "artifacts/explain/scores.json"])
def test_figures_are_found_beside_the_champion_or_in_the_stage(tmp_path: Path, place: str) -> None:
    write(tmp_path / place)
    model = "champion/model/model.onnx" if "champion" in place else "artifacts/export/model.onnx"
    found = told(tmp_path / model)
    assert found.passed and "27.2 points more" in found.text and "22.9" in found.text


def test_maps_that_failed_are_not_to_be_shown(tmp_path: Path) -> None:
    write(tmp_path / "artifacts/explain/scores.json", passed=False)
    found = told(tmp_path / "artifacts/export/model.onnx")
    assert found.failed and "failed their test" in found.text


def test_another_network_is_not_believed_by_the_figures_of_its_teacher(tmp_path: Path) -> None:
    write(tmp_path / "artifacts/explain/scores.json")
    found = told(tmp_path / "artifacts/export/student/model.onnx")
    assert found.passed is None and not found.failed and "was not tried" in found.text


def test_figures_of_another_model_are_not_believed(tmp_path: Path) -> None:
    """Such as those of yesterday's network beside an export of today's."""
    write(tmp_path / "artifacts/explain/scores.json")
    found = told(tmp_path / "artifacts/export/model.onnx", weights="other")
    assert found.failed and "scores.json is of another model" in found.text


def test_trained_weights_are_known_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"a")
    first = tried.known_by(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"b")
    assert [*first] == ["weights"] and tried.known_by(tmp_path) != first


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"weights": "w", "methods": {"occlusion": {"passed": true}}}']
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(UserError, match=r"scores\.json"):
        told(tmp_path / "model.onnx")
