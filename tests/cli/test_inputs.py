"""What is edited while a stage runs is never noted as what its results were made with."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from photos import photo, photos
from project import Project, finished, wait_for

from imagetrail.base.errors import UserError
from imagetrail.cli.inputs import SMALL, look, unchanged

DVC_YAML = """stages:
  train:
    cmd: imagetrail train
    deps: [pictures, '${data.table}', src/code, big.bin]
    params: [train.epochs, data]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / ".dvcignore").write_text("__pycache__/\n")
    params = {"train": {"epochs": 3, "patience": 1}, "data": {"table": "labels.csv", "name": "a"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    photos(tmp_path / "pictures", ["cats/1.png", "dogs/1.png"])
    (tmp_path / "src/code/__pycache__").mkdir(parents=True)
    (tmp_path / "src/code/loop.py").write_text("one\n")
    (tmp_path / "big.bin").write_bytes(bytes(SMALL + 1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def run(stage: str, what_happens: Callable[[], object]) -> None:
    with unchanged(stage):
        what_happens()


CHANGES: dict[str, Callable[[Path], object]] = {
    "params.yaml: train.epochs": lambda root: edit(root / "params.yaml", "epochs: 3", "epochs: 4"),
    "params.yaml: data": lambda root: edit(root / "params.yaml", "name: a", "name: b"),
    "pictures/cats/2.png": lambda root: photo(root / "pictures/cats/2.png"),
    "pictures/dogs/1.png": lambda root: (root / "pictures/dogs/1.png").unlink(),
    "pictures/cats/1.png": lambda root: (root / "pictures/cats/1.png").write_bytes(b"another"),
    "labels.csv": lambda root: (root / "labels.csv").write_text("a,b\n"),  # was not there
    "src/code/loop.py": lambda root: edit(root / "src/code/loop.py", "one", "two"),
    "big.bin": lambda root: os.truncate(root / "big.bin", SMALL),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_is_named_in_one_line(folder: Path, what: str) -> None:
    with pytest.raises(UserError) as told:
        run("train", lambda: CHANGES[what](folder))
    assert str(told.value).startswith(f"{what} changed while train ran") and "\n" not in str(
        told.value
    )


def test_several_changes_are_one_line_as_well(folder: Path) -> None:
    with pytest.raises(UserError, match=r"^params.yaml: train.epochs and 2 more changed"):
        run("train", lambda: [CHANGES[what](folder) for what in SEVERAL])


SEVERAL = ("params.yaml: train.epochs", "labels.csv", "big.bin")
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "another param": lambda root: edit(root / "params.yaml", "patience: 1", "patience: 2"),
    "saved as it was": lambda root: edit(root / "src/code/loop.py", "one", "one"),
    "compiled": lambda root: (root / "src/code/__pycache__/loop.pyc").write_bytes(b"compiled"),
    "another file": lambda root: (root / "notes.txt").write_text("to do\n"),
    "a pipe": lambda root: os.mkfifo(root / "pictures/cats/pipe"),  # fetch tells of it
}


@pytest.mark.parametrize("what", NO_CHANGES)
def test_what_is_no_change_of_its_inputs_is_let_pass(folder: Path, what: str) -> None:
    ended = False
    with unchanged("train"):
        NO_CHANGES[what](folder)
        ended = True
    assert ended and look("train") is not None, "it was watched, and nothing was refused"


def test_a_stage_that_no_pipeline_has_is_not_watched(folder: Path) -> None:
    assert look("polish") is None
    with unchanged("polish"):
        edit(folder / "params.yaml", "epochs: 3", "epochs: 4")
    (folder / "dvc.yaml").unlink()
    assert look("train") is None
    with unchanged("train"):
        edit(folder / "params.yaml", "epochs: 4", "epochs: 5")


def test_a_fault_of_the_stage_is_told_and_not_the_change(folder: Path) -> None:
    def fail() -> None:
        edit(folder / "params.yaml", "epochs: 3", "epochs: 4")
        raise UserError("so it is")

    with pytest.raises(UserError, match="so it is"):
        run("train", fail)


@pytest.mark.parametrize("how_it_ends", [None, KeyboardInterrupt])
def test_what_was_kept_while_the_code_changed_is_kept_no_longer(
    folder: Path, how_it_ends: type[BaseException] | None
) -> None:
    """Its name is a hash of the code that was there when the stage began."""
    old, new = (folder / ".imagetrail" / name for name in ("train/old", "trainings/new"))
    old.mkdir(parents=True)
    os.utime(old, (1, 1))

    def learn() -> None:
        new.mkdir(parents=True)
        edit(folder / "src/code/loop.py", "one", "two")
        if how_it_ends:
            raise how_it_ends

    with pytest.raises(how_it_ends or UserError):
        run("train", learn)
    assert old.exists() and not new.exists()


def test_a_picture_added_while_fetch_copies_is_in_no_lock_until_fetch_has_it(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    project.init()
    project.take("dvc.yaml", ".dvcignore", "src")
    project.environment["PYTHONPATH"] = str(project.root / "src")
    pictures = "pi[c]t@ur*s%20?#{x}"  # dvc.yaml has no trouble with any of it
    project.set(data={"name": "folder", "source": "own", "path": pictures, "table": None})
    photos(tmp_path / pictures, ["a/0.png", "b/0.png"])
    for number in range(1, 5000):
        os.link(tmp_path / pictures / "a/0.png", tmp_path / pictures / f"a/{number}.png")
    process = project.start("dvc", "repro", "fetch")
    wait_for((tmp_path / "data/raw/folder/.files.partial").exists, process)
    photo(tmp_path / pictures / "a/late.png")
    code, output, errors = finished(process)
    assert code != 0 and f"{pictures}/a/late.png changed while fetch ran" in errors, output + errors
    assert "Traceback" not in errors and not (tmp_path / "dvc.lock").exists()
    project.dvc("repro", "fetch")
    source = json.loads((tmp_path / "data/raw/folder/SOURCE.json").read_text())
    assert source["files"] == 5002 and "up to date" in project.dvc("status", "fetch")
