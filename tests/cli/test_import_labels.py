"""`imagetrail import`, as a user runs it."""

import json
from pathlib import Path

from photos import photo
from project import Project

from imagetrail.data import labelled


def export(folder: Path) -> Path:
    tasks = [
        {
            "data": {"image": f"/data/upload/1/0a1b2c3d-{kind}.png"},
            "annotations": [{"result": [{"type": "choices", "value": {"choices": [kind]}}]}],
        }
        for kind in ("cat", "dog")
    ]
    tasks.append({"data": {"image": "/data/upload/1/new.png"}, "annotations": []})
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def test_an_export_becomes_a_table_that_names_the_pictures_beside_it(tmp_path: Path) -> None:
    export(tmp_path)
    photo(tmp_path / "pets/images/0a1b2c3d-cat.png")  # as an export has them
    photo(tmp_path / "pets/dog.png")  # as they were before
    project = Project(tmp_path)
    said = project.imagetrail("import", "export.json", "--out", "pets/labels.csv")
    assert said.splitlines() == [
        "pets/labels.csv: 2 pictures in 2 classes",
        "  1 left out: not labelled",
    ]
    found = labelled.read(tmp_path / "pets", "labels.csv", "pets")
    assert found.sources == ("images/0a1b2c3d-cat.png", "dog.png")


def test_a_table_of_other_labels_is_not_written_over(tmp_path: Path) -> None:
    export(tmp_path)
    project = Project(tmp_path)
    project.imagetrail("import", "export.json")
    assert project.imagetrail("import", "export.json").startswith("labels.csv: 2 pictures")
    (tmp_path / "labels.csv").write_text("path,label\nmine.png,cat\n")
    said = project.imagetrail("import", "export.json", ok=False)
    assert "labels.csv is there already" in said and "Traceback" not in said
    assert "mine.png" in (tmp_path / "labels.csv").read_text()


def test_pictures_that_are_elsewhere_are_counted(tmp_path: Path) -> None:
    export(tmp_path)
    said = Project(tmp_path).imagetrail("import", "export.json")
    assert "  2 are not beside the table, the first: 0a1b2c3d-cat.png" in said.splitlines()
