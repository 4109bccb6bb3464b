"""Files that cannot be read, however they came to be so: the culprit in one line, and no wait."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from photos import animals, as_tar, photos
from project import Project
from tiny_onnx import noise, write

CAPABILITIES = "-dac_override,-dac_read_search"
# What root needs so as not to be let in where nobody is.
AS_ANYBODY = (
    ("setpriv", f"--bounding-set={CAPABILITIES}", f"--inh-caps={CAPABILITIES}")
    if os.geteuid() == 0
    else ()
)
needs_a_lock = pytest.mark.skipif(
    bool(AS_ANYBODY) and shutil.which("setpriv") is None, reason="nothing is locked for root"
)


class Place(Project):
    """A folder with a model in it, where a command ends within a minute."""

    def says(self, *words: str, ok: bool = False) -> list[str]:
        """The lines about faults, of which none may be a traceback."""
        command = (sys.executable, "-m", "imagetrail.cli", *words)
        said = self.run("timeout", "60", *AS_ANYBODY, *command, ok=ok)
        assert "Traceback" not in said
        return [line for line in said.splitlines() if line.startswith("error: ")]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    write(tmp_path / "model.onnx", noise())
    yield Place(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_dir() or (path.is_file() and not path.is_symlink()):
            path.chmod(0o700)


def to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def to_nothing(path: Path) -> None:
    path.symlink_to("gone")


def locked(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (to_itself, "too many levels of symbolic links"),
        (to_nothing, "no such file or directory"),
        (os.mkfifo, "not a file"),
        pytest.param(locked, "permission denied", marks=needs_a_lock),
    ],
)
def test_predict_names_the_one_that_it_cannot_read_and_answers_the_others(
    place: Place, make: Callable[[Path], None], reason: str
) -> None:
    make(animals(place.root / "pets") / "cats/3.png")
    said = place.run(
        *(*AS_ANYBODY, sys.executable, "-m", "imagetrail.cli"),
        *("predict", "pets", "--model", "model.onnx"),
        ok=False,
    )
    assert f"error: pets/cats/3.png: {reason}" in said.splitlines()
    assert all(name in said for name in ("1.png", "2.JPG", "1.jpeg")) and "Traceback" not in said


@pytest.mark.parametrize("command", ["suggest", "drift"])
def test_commands_on_new_pictures_go_on_without_a_link_to_itself(
    place: Place, command: str
) -> None:
    to_itself(photos(place.root / "new", [f"{i}.png" for i in range(25)]) / "me.png")
    features = np.random.default_rng(0).random((40, 16))
    np.savez(place.root / "reference.npz", features=features, counts=np.array([20, 20]))
    said = place.says(command, "new", "--model", "model.onnx", ok=command == "suggest")
    assert said == ["error: new/me.png: too many levels of symbolic links"]


@pytest.mark.parametrize("command", ["predict", "suggest", "drift", "init"])
@needs_a_lock
def test_a_locked_folder_is_named_by_every_command(place: Place, command: str) -> None:
    (animals(place.root / "pets") / "cats").chmod(0)
    model = () if command == "init" else ("--model", "model.onnx")
    (line,) = place.says(command, "pets", *model)
    assert "pets" in line and "cats" in line
    assert line.endswith(": cannot be listed (permission denied)")


@pytest.mark.parametrize(
    "words",
    [
        ("import", "pipe"),
        ("predict", "pets/cats/1.png", "--model", "pipe"),
        ("drift", "pets", "--model", "pipe"),
    ],
    ids=["export", "model", "model of drift"],
)
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(
    place: Place, words: tuple[str, ...]
) -> None:
    animals(place.root / "pets")
    os.mkfifo(place.root / "pipe")
    assert place.says(*words) == ["error: pipe is a pipe, socket or device; a file is wanted"]


def test_params_that_are_a_pipe_are_refused(place: Place) -> None:
    os.mkfifo(place.root / "params.yaml")
    (line,) = place.says("params")
    assert line == "error: params.yaml is a pipe, socket or device; a file is wanted"


@needs_a_lock
def test_an_archive_of_pictures_that_may_only_be_read_is_fetched_again_and_again(
    place: Place,
) -> None:
    top = animals(place.root / "pets")
    for path in [*top.rglob("*"), top]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    as_tar(top)
    place.set(data={"name": "pets", "source": "own", "path": "pets.tar"})
    assert place.says("fetch", ok=True) == place.says("fetch", ok=True) == []
    kept = place.root / "data/raw/pets/files"
    assert len([path for path in kept.rglob("*") if path.is_file()]) == 3
