"""What a stage reads, seen at its start and at its end: what changes meanwhile is told.

DVC hashes params and deps when the command has ended, so that what is edited while it runs would
be noted as what its results were made with. A stage that ends badly is noted not at all.
"""

import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagetrail.base import hashing, pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.files import remove
from imagetrail.base.params import at, read_yaml

SMALL = 4 << 20  # bytes of a dep up to which content counts: a file saved as it was is no change
PARAMS, CODE = Path("params.yaml"), Path("src")
STATES = Path(".imagetrail")
SLACK = 5  # seconds by which a file server's clock may be behind

Seen = tuple[int, int]  # bytes, and when it was written last, in ns


@dataclass(frozen=True)
class Dep:
    files: dict[str, Seen]  # by the path inside, of a file: ""
    md5: dict[str, str]  # of the same files; empty for a dep that is not SMALL


@dataclass(frozen=True)
class Inputs:
    stage: str
    params: dict[str, Any]  # by key
    deps: dict[str, Dep]

    def refuse_changes(self) -> None:
        """Raises UserError unless params and deps are those that were seen."""
        found = [*self._changed_params(), *self._changed_files()]
        if found:
            more = f" and {len(found) - 1} more" if found[1:] else ""
            raise UserError(
                f"{found[0]}{more} changed while {self.stage} ran, and its results may be of both: "
                "none is noted, run the same command again"
            )

    def forget_if_code_changed(self, since: float) -> None:
        """Removes what the stage kept since then, in seconds since 1970, if its code changed.

        A kept state is named after the code that was there when it was begun; workers that started
        later have run what was there then.
        """
        code = {dep for dep in self.deps if Path(dep).is_relative_to(CODE)}
        if next(self._changed_files(code), None) is None:
            return
        for folder in (STATES / self.stage, STATES / "trainings"):
            for state in folder.glob("*"):
                written = [path.stat().st_mtime for path in (state, *state.rglob("*"))]
                if max(written) >= since - SLACK:
                    remove(state)

    def _changed_params(self) -> Iterator[str]:
        after = _params(self.params)
        for key, value in self.params.items():
            if after[key] != value:
                yield f"{PARAMS}: {key}"

    def _changed_files(self, among: set[str] | None = None) -> Iterator[str]:
        for dep, before in self.deps.items():
            if among is not None and dep not in among:
                continue
            after = _files(Path(dep))
            for name in sorted(before.files.keys() | after.keys()):
                if before.files.get(name) == after.get(name):
                    continue
                path = Path(dep, name)
                if before.md5.get(name, "") == (hashing.md5(path) if path.is_file() else None):
                    continue
                if not _ignored(path):
                    yield str(path)


@contextmanager
def unchanged(stage: str) -> Iterator[None]:
    """What the stage depends on must be at the end of the block what it is at its beginning.

    Raises UserError, of one line, if it is not, and has the stage begin anew if it was code.
    """
    since, seen = time.time(), look(stage)
    if seen is None:
        yield
        return
    try:
        yield
    finally:
        seen.forget_if_code_changed(since)
    seen.refuse_changes()


def look(stage: str) -> Inputs | None:
    """What the stage is about to read; None where no dvc.yaml says it: nothing is noted there."""
    if not Path("dvc.yaml").exists():
        return None
    described = pipeline.stages().get(stage)
    if described is None:
        return None
    deps = {dep: _look(Path(dep)) for dep in described.deps}
    return Inputs(stage, _params(described.params), deps)


def _ignored(path: Path) -> bool:
    """Whether DVC passes over it; all that is outside the repository counts."""
    outside = path.is_absolute() or ".." in path.parts
    return not outside and hashing.dvcignore(Path())(path)


def _params(keys: Iterable[str]) -> dict[str, Any]:
    """The values in params.yaml; None for a key that is missing, which the stage will tell."""
    params = read_yaml(PARAMS)
    return {key: at(params, key) for key in keys}


def _look(dep: Path) -> Dep:
    files = _files(dep)
    if sum(size for size, _ in files.values()) > SMALL:
        return Dep(files, {})
    try:
        return Dep(files, {name: hashing.md5(dep / name) for name in files})
    except OSError:  # what cannot be read is the stage's to tell
        return Dep(files, {})


def _files(dep: Path) -> dict[str, Seen]:
    """Its files, none if there is no such dep; pipes, and what goes meanwhile, are not counted."""
    top = str(dep)
    paths = [top]
    if dep.is_dir():
        paths = [f"{base}/{name}" for base, _, names in os.walk(top) for name in names]
    found = {}
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116  there may be a million of them
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found[path[len(top) + 1 :]] = (status.st_size, status.st_mtime_ns)
    return found
