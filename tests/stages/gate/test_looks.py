"""Where the two models look, on what they disagree: only what passed its trial is drawn."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_onnx

from imagetrail.base.samples import Samples
from imagetrail.plots import charts
from imagetrail.serving import onnx_model
from imagetrail.stages.gate import looks
from imagetrail.stages.gate.candidate import Candidate

PASSED = {"passed": True, "deletion_over_other": 0.3, "deletion_over_other_low": 0.2}
NUMBERS = np.array([1, 4])
Drawn = list[tuple[list[str], np.ndarray]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """What would be drawn: of each model its titles and maps."""
    found: Drawn = []
    compared = charts.compared

    def note(images: np.ndarray, titles: list[str], looks: Drawn, path: Path) -> None:
        found.extend(looks)
        compared(images, titles, looks, path)

    monkeypatch.setattr(charts, "compared", note)
    return found


def model(folder: Path, test: Samples, seed: int, found: dict[str, object] | None) -> Candidate:
    file = tiny_onnx.write(folder / "model.onnx", tiny_onnx.noise(seed=seed, weights=str(seed)))
    if found is not None:
        scores = {"weights": str(seed), "pictures": 9, "methods": {"occlusion": found}}
        (folder / "scores.json").write_text(json.dumps(scores))
    opened = onnx_model.load(file)
    return Candidate(
        sha256=opened.sha256,
        classes=opened.classes,
        shape=opened.shape,
        probabilities=opened.predict(test.images),
        seen=np.zeros(len(test), bool),
        data="d",
        file=str(file),
    )


def test_each_model_is_shown_where_it_looked_for_its_own_answer(
    tmp_path: Path, toy: Callable[..., Samples], drawn: Drawn
) -> None:
    test = toy("test", count=8)
    new, old = (model(tmp_path / str(seed), test, seed, PASSED) for seed in (1, 2))
    assert looks.draw(tmp_path / "a.png", NUMBERS, {"new model": new, "champion": old}, test) == {}
    for (titles, maps), name, one in zip(drawn, ("new model", "champion"), (new, old), strict=True):
        answers = one.probabilities[NUMBERS].argmax(1)
        assert titles == [f"{name}: {one.classes[answer]}" for answer in answers]
        assert maps.shape == (2, 8, 8) and maps.max((1, 2)) == pytest.approx(1)
    assert not np.allclose(drawn[0][1], drawn[1][1])
    first = (tmp_path / "a.png").read_bytes()
    looks.draw(tmp_path / "a.png", NUMBERS, {"new model": new, "champion": old}, test)
    assert (tmp_path / "a.png").read_bytes() == first


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"passed": False}, "failed their test"),
        (None, "was not tried"),  # a champion of old
    ],
)
def test_a_model_whose_maps_did_not_pass_has_none_and_the_reason_is_told(
    tmp_path: Path,
    toy: Callable[..., Samples],
    drawn: Drawn,
    found: dict[str, object] | None,
    why: str,
) -> None:
    test = toy("test", count=8)
    new, old = model(tmp_path / "a", test, 1, PASSED), model(tmp_path / "b", test, 2, found)
    told = looks.draw(tmp_path / "a.png", NUMBERS, {"new model": new, "champion": old}, test)
    assert [*told] == ["champion"] and why in told["champion"]
    assert [titles[0].split(":")[0] for titles, _ in drawn] == ["new model"]


def test_figures_of_another_model_are_not_believed(
    tmp_path: Path, toy: Callable[..., Samples], drawn: Drawn
) -> None:
    test = toy("test", count=8)
    new = model(tmp_path / "a", test, 1, PASSED)
    tiny_onnx.write(tmp_path / "a/model.onnx", tiny_onnx.noise(seed=2, weights="2"))
    told = looks.draw(tmp_path / "a.png", NUMBERS, {"new model": new}, test)
    assert "of another model" in told["new model"] and not drawn
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_where_the_two_agree_nothing_is_asked(
    tmp_path: Path, toy: Callable[..., Samples], drawn: Drawn
) -> None:
    test = toy("test", count=8)
    none = np.empty(0, np.int64)
    new = model(tmp_path / "a", test, 1, {"passed": False})
    assert looks.draw(tmp_path / "a.png", none, {"new model": new}, test) == {} and not drawn
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
