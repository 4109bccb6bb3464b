"""A file that was flipped, cut, emptied or deleted, wherever, is found, and its cure is said."""

import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from project import Project
from stand import FAULTS, SEED, Stand

from imagetrail.base.errors import UserError
from imagetrail.release import lock_files, verification

CACHE, RUNS = ".dvc/cache/files", ".dvc/cache/runs"
PLACES = ("artifacts", "data", "champion", CACHE, RUNS, "dvc.lock")
NO_RESULTS = (".gitignore", "README.md", "corrections.csv", "schema.json")  # Git's
NO_RESULTS += ("run.js",)  # made by every publish

SIZE = re.compile(rb" +(size|nfiles): ")  # as DVC notes them beside hashes: nothing depends on it


def flipped(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    while SIZE.match(content, content.rfind(b"\n", 0, place) + 1):
        place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def emptied(_: bytes, __: random.Random) -> bytes:
    return b""


def deleted(_: bytes, __: random.Random) -> None:
    return None


DAMAGES = (flipped, cut, emptied, deleted)


@pytest.fixture(scope="module")
def whole(stand: Stand) -> Project:
    made = stand.ready("rollback 1", "damaged")
    made.commit("promoted")
    made.dvc("repro", "--quiet")  # the gate has another champion
    assert told(made) == [], "before any damage"
    return made


@pytest.mark.parametrize("number", range(FAULTS * 2 // 3))
def test_a_damage_is_found_and_its_cure_is_said(whole: Project, number: int) -> None:
    draw = random.Random(f"{SEED}/damage/{number}")
    place, damage = PLACES[number % len(PLACES)], DAMAGES[number // len(PLACES) % len(DAMAGES)]
    files = _files(whole.root / place)
    if place == RUNS and damage is deleted:
        damage = emptied  # without an entry DVC runs the stage again, and all is well
    if place == CACHE:
        needed = _needed(whole)
        files = [file for file in files if file.parent.name + file.name in needed]
    file = draw.choice(files)
    what = f"{damage.__name__}: {file.relative_to(whole.root)}"
    with damaged(file, damage(file.read_bytes(), draw)):
        found = told(whole)
        if place == "dvc.lock" and not found:  # DVC runs a stage again whose entry is another
            found = ["run `dvc repro`"] if "up to date" not in whole.dvc("status") else []
    assert found, what
    assert all("`" in line for line in found), found


@contextmanager
def damaged(file: Path, content: bytes | None) -> Iterator[None]:
    """The file with other content, or none, and its old times; whole again at the end."""
    before, whole = file.stat(), file.read_bytes()
    file.chmod(0o644)
    try:
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        yield
    finally:
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_bytes(whole)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        file.chmod(before.st_mode)


def _needed(project: Project) -> set[str]:
    """What of DVC's cache an out of today is; the rest is of runs that were."""
    outs = [*verification.locked(project.root), *verification.tracked(project.root)]
    names = {out.md5 for out in outs if out.cached}
    inside = (verification.listing(project.root / ".dvc/cache", name) for name in names)
    return names.union(*(listing.values() for listing in inside))


def _files(place: Path) -> list[Path]:
    files = [place] if place.is_file() else sorted(place.rglob("*"))
    return [
        path
        for path in files
        if path.is_file() and path.stat().st_size and path.name not in NO_RESULTS
    ]


def told(project: Project) -> list[str]:
    """What `imagetrail verify` says, a line each."""
    try:
        healed = lock_files.heal(project.root)
        found = verification.verify(project.root, project.root / ".dvc/cache")
    except UserError as error:
        return str(error).splitlines()
    return [*(f"{line} (`imagetrail verify` did it)" for line in healed), *map(str, found)]
