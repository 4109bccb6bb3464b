"""`imagetrail suggest`: what is not understood comes first, and nothing comes twice."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_onnx import noise, write

from imagetrail.serving import inputs, onnx_model, suggestion

Run = Callable[..., tuple[int, str, str]]
OUT = Path("artifacts/suggest/suggested.csv")


@pytest.fixture
def run(run: Run, tmp_path: Path) -> Run:
    """The same where export chose a model."""
    chosen = write(tmp_path / "artifacts/export/model.onnx", noise(("cat", "dog", "emu")))
    facts = [{"file": chosen.name, "chosen": True}]
    (chosen.parent / "export.json").write_text(json.dumps(facts))
    return run


def draw(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        image = Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8))
        image.save(folder / f"{number}.png")


def ranked() -> list[dict[str, str]]:
    with OUT.open(newline="", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_each_corner_of_what_is_unsure_is_asked_about_before_any_twice() -> None:
    """Three directions of features, ten unsure pictures in each, and a thousand sure ones."""
    rng = np.random.default_rng(0)
    corner = np.repeat(np.arange(3), 10)
    features = np.eye(8, dtype=np.float32)[np.r_[corner, rng.integers(0, 3, 1000)]] * 5
    features += rng.normal(scale=0.05, size=features.shape).astype(np.float32)
    unsure, sure = [[0.5, 0.3, 0.2]] * 30, [[0.998, 0.001, 0.001]] * 1000
    chosen = suggestion.rank(np.array(unsure + sure), features, count=3)
    assert sorted(corner[chosen]) == [0, 1, 2]


def test_a_brighter_picture_is_not_preferred() -> None:
    features = np.eye(4, dtype=np.float32) * np.array([[1], [100], [1], [1]], np.float32)
    probabilities = np.array([[0.4, 0.6], [0.01, 0.99], [0.5, 0.5], [0.3, 0.7]])
    assert suggestion.rank(probabilities, features, count=1) == [2]


def test_as_good_as_equal_pictures_are_asked_about_once() -> None:
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(5, 8)).astype(np.float32), 20, 0)
    features *= rng.uniform(0.99, 1.01, features.shape).astype(np.float32)
    chosen = suggestion.rank(np.full((100, 4), 0.25), features, count=50)
    assert sorted(i // 20 for i in chosen) == [0, 1, 2, 3, 4]


def test_of_many_the_least_certain_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestion, "MOST", 5)
    certain = np.linspace(0.5, 1, 20)
    seen = suggestion.Candidates(
        [str(i) for i in range(20)],
        [np.array([p, 1 - p]) for p in certain[::-1]],
        [np.zeros(2, np.float32)] * 20,
    )
    seen.trim()
    assert seen.files == ["15", "16", "17", "18", "19"]
    assert len(seen.probabilities) == len(seen.features) == 5


def test_batches_do_not_change_what_is_suggested(run: Run, tmp_path: Path) -> None:
    draw(tmp_path / "new", 30)
    model = onnx_model.load(tmp_path / "artifacts/export/model.onnx")
    files = inputs.find(["new"])
    one, two = (
        list(
            suggestion.suggest(
                model, inputs.batches(files, inputs.target_of(model), size=size), count=9
            )
        )
        for size in (256, 7)
    )
    assert one == two and len({each.file for each in one}) == 9
    assert run("suggest", "new", "--count", "9")[0] == 0
    assert [row["file"] for row in ranked()] == [each.file for each in one]


def test_the_table_and_the_file_say_the_same(run: Run, tmp_path: Path) -> None:
    draw(tmp_path / "new", 12)
    shutil.copy("new/3.png", os.fsdecode(b"new/copy\xff,3.png"))
    Path("new/broken.png").write_bytes(b"no picture")
    code, out, err = run("suggest", "new", "--count", "20")
    rows = ranked()
    assert code == 0 and "error: new/broken.png: " in err and "of 14 pictures" in err
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, len(rows) + 1)]
    assert (
        len({row["file"] for row in rows} & {"new/3.png", os.fsdecode(b"new/copy\xff,3.png")}) == 1
    )
    for line, row in zip(out.splitlines(), rows, strict=True):
        assert line.endswith(f"{row['class']} {100 * float(row['probability']):.1f} %")
    before = OUT.read_bytes()
    assert run("suggest", "new", "--count", "20")[0] == 0 and OUT.read_bytes() == before


def test_what_is_no_folder_of_pictures_is_said_in_a_line(run: Run, tmp_path: Path) -> None:
    assert "nowhere is not a folder of pictures" in run("suggest", "nowhere")[2]
    (tmp_path / "empty").mkdir()
    assert "no picture in this folder" in run("suggest", "empty")[2]
    Path("empty/broken.png").write_bytes(b"no picture")
    code, _, err = run("suggest", "empty")
    assert code == 1 and "none of the 1 pictures can be read" in err and not OUT.exists()
