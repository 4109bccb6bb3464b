"""`imagetrail inspect` on real files: what it writes, what it says, and when it stops."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiles
import yaml
from PIL import Image
from project import ROOT

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_csv, read_json
from imagetrail.base.params import check
from imagetrail.stages.inspect import schema, stage
from imagetrail.stages.inspect.params import Inspect

PHOTOS = tiles.tiles()[:40]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder has 40 photos of two classes, and params.yaml."""
    monkeypatch.chdir(tmp_path)
    for i, photo in enumerate(PHOTOS):
        file = Path("own") / ("cat" if i % 2 else "dog") / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(file)
    set_params()
    return Path("own")


def set_params(**inspect: Any) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] |= {"name": "pets", "source": "own", "path": "own"}
    params["data"] |= {"image_size": 48, "channels": 3}
    params["inspect"] |= inspect
    Path("params.yaml").write_text(yaml.safe_dump(params))


def findings() -> dict[str, Any]:
    return {finding["name"]: finding for finding in read_json(paths.INSPECTION)["findings"]}


def test_each_photo_as_png_and_as_jpeg_is_a_pair_with_one_number(folder: Path) -> None:
    for file in list(folder.rglob("*.png")):
        Image.open(file).save(file.with_suffix(".jpg"), quality=90)
    stage.run()
    table = pq.read_table(paths.FINGERPRINTS).to_pylist()
    near = {row["source"]: row["near"] for row in table}
    paired = [
        name
        for name in near
        if near[name] is not None and near[name] == near[str(Path(name).with_suffix(".jpg"))]
    ]
    assert len(paired) >= 76  # of 80
    assert findings()["near_duplicates"]["number"] >= 38
    assert (paths.ARTIFACTS / "inspect/findings/near_duplicates.png").exists()


def test_what_cannot_be_used_is_written_down_before_it_stops_the_pipeline(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        (folder / "cat" / f"broken{number}.png").write_bytes(b"\x89PNG\r\n")
    (folder / "cat" / "notes.txt").write_text("bought in May")
    with pytest.raises(UserError) as stopped:
        stage.run()
    first = "error: broken: 6 of 46 pictures cannot be read (13.0 %), the first is cat/broken0.png"
    assert f"error: {stopped.value}".startswith(first)
    assert "quarantine.csv" in str(stopped.value) and "inspect.fail_on" in str(stopped.value)
    rows = read_csv(paths.QUARANTINE)
    assert len(rows) == 7 and rows[0].keys() == {"source", "reason"}
    assert rows[-1]["source"] == "cat/notes.txt"
    assert findings()["unreadable"]["number"] == 6
    printed = capsys.readouterr().out
    assert "7 files left out" in printed
    assert printed.index("fatal: broken") < printed.index("warning: unreadable")


def test_where_nothing_can_be_read_one_line_says_so_and_a_table_why(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        file.write_bytes(b"\x89PNG\r\n")
    set_params(max_unreadable=1, fail_on=[])
    with pytest.raises(UserError, match=r"^broken: 40 of 40 .*, the first is cat/1\.png: .*") as no:
        stage.run()
    assert "\n" not in str(no.value)
    assert len(read_csv(paths.QUARANTINE)) == 40


def test_what_stops_is_a_matter_of_fail_on(folder: Path) -> None:
    for i in range(1, 30):
        (folder / "cat" / f"{i}.png").unlink(missing_ok=True)
    with pytest.raises(UserError, match="few_pictures: class 'cat' has too few"):
        stage.run()
    set_params(fail_on=[])
    stage.run()
    set_params(fail_on=["scarce_classes"])
    with pytest.raises(UserError, match="scarce_classes: 2 of 2 classes"):
        stage.run()


def test_an_unknown_finding_is_refused_with_those_that_there_are() -> None:
    wrong = {"max_unreadable": 0, "min_per_class": 3, "fail_on": ["near_duplicate"]}
    with pytest.raises(UserError, match="did you mean 'near_duplicates'"):
        check(Inspect, wrong, "params.yaml: inspect")


def test_new_pictures_are_held_against_the_schema_that_was_accepted(folder: Path) -> None:
    stage.run()
    assert "no_schema" in findings()
    assert schema.accept() == schema.read()
    stage.run()
    assert "no_schema" not in findings()
    (folder / "cow").mkdir()
    for i, photo in enumerate(PHOTOS[:12]):
        Image.fromarray(255 - photo).save(folder / "cow" / f"{i}.png")
    with pytest.raises(UserError, match=r"new_classes: not expected: cow\. Mend .* schema"):
        stage.run()
    schema.accept()
    stage.run()
    assert "new_classes" not in findings()


@pytest.mark.usefixtures("folder")
def test_a_schema_of_another_data_set_is_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    stage.run()
    schema.accept()
    capsys.readouterr()
    stage.run()
    assert "imagetrail schema" not in capsys.readouterr().out
    content = json.loads(paths.SCHEMA.read_text()) | {"data": "birds", "classes": ["heron"]}
    paths.SCHEMA.write_text(json.dumps(content))
    stage.run()
    assert "is of 'birds'" in findings()["no_schema"]["text"]
    assert "not of these pictures: `imagetrail schema` accepts" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_damaged_schema_is_one_line() -> None:
    paths.SCHEMA.parent.mkdir(exist_ok=True)
    paths.SCHEMA.write_text('{"data": "pets", "classes": 3}')
    with pytest.raises(UserError, match=r"^data/schema.json: classes: .*imagetrail schema"):
        stage.run()


@pytest.mark.usefixtures("folder")
def test_a_schema_that_is_no_json_comes_back_from_git() -> None:
    paths.SCHEMA.parent.mkdir(exist_ok=True)
    paths.SCHEMA.write_text("{")
    with pytest.raises(UserError, match=r"run `git checkout data/schema.json`, or `imagetrail sch"):
        schema.read()


def test_two_runs_write_equal_files(folder: Path) -> None:
    Image.open(folder / "dog/0.png").save(folder / "dog/copy.jpg")
    written = []
    for _ in range(2):
        stage.run()
        files = sorted((paths.ARTIFACTS / "inspect").rglob("*.*"))
        written.append({file: file.read_bytes() for file in files if file.is_file()})
    assert written[0] == written[1] and len(written[0]) > 5


def test_the_schema_of_a_clone_is_that_of_its_params() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    kept = schema.read(ROOT / paths.SCHEMA)
    assert kept and kept.data == params["data"]["name"] and len(kept.classes) == 10
    assert np.isclose(kept.brightness[0], 72.97)
