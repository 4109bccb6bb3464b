"""Files that go with a job to a machine that shares none with this one, and come back.

Inputs are large, never change and serve many jobs: they go by their content, once to each machine.
State is small and goes with its job, there and back.

On that machine `cache()` has an entry for each content, and a desk for each worker process: the
folder that jobs find themselves in, with links to the contents under the paths that they have here.
What a process uses it has locked; what nobody has used for a day goes when something new comes.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagetrail.base import hashing
from imagetrail.base.errors import UserError
from imagetrail.base.files import remove, replacing

PIECE = 64 << 20  # bytes of a file that travel together
UNUSED = 24 * 3600.0  # seconds after which an entry may go
CONTENT, TURN, DESK = "content", "turn", "desk-"

State = dict[str, tuple[bytes, int]]  # path below the kept one: its bytes, its time in ns


@dataclass(frozen=True)
class Content:
    """A file or folder as it travels: pieces are what `put` has given for their bytes."""

    md5: str
    pieces: dict[str, list[Any]]  # by path below it; "." is itself


def cache() -> Path:
    """The folder of this machine that keeps contents: IMAGETRAIL_CACHE, or one of this user's."""
    named = os.environ.get("IMAGETRAIL_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "imagetrail"


# ---- there ----


def files(path: Path) -> list[Path]:
    """The file itself, or all below the folder."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def packed(path: Path, put: Callable[[bytes], Any]) -> Content:
    """The file or folder in pieces, each handed to `put`: one at a time is in memory."""
    pieces = {
        file.relative_to(path).as_posix(): [put(piece) for piece in _read(file)]
        for file in files(path)
    }
    return Content(hashing.md5(path), pieces)


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            yield piece


def state(path: Path) -> State:
    """All that is there, which may be nothing; what was written first comes first."""
    found = {
        file.relative_to(path).as_posix(): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in files(path)
        if file.exists()
    }
    return dict(sorted(found.items(), key=lambda item: item[1][1]))


def restore(path: Path, kept: State) -> None:
    """Brings what is there to that state, file by file: what a kill leaves is one of before."""
    for name, (content, written) in kept.items():
        with replacing(path / name) as temporary:
            temporary.write_bytes(content)
            os.utime(temporary, ns=(written, written))
    for file in files(path):
        if file.relative_to(path).as_posix() not in kept:
            remove(file)


# ---- on that machine ----


def desk(contents: Mapping[Path, Content], get: Callable[[Any], bytes]) -> Path:
    """A folder of this process with these contents at their paths; `get` brings a piece."""
    wanted = frozenset((path, content.md5) for path, content in contents.items())
    if wanted not in _DESKS:
        cache().mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=DESK, dir=cache().resolve()))
        _lock(folder)
        for path, content in contents.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(_HELD.get(content.md5) or _hold(content, get))
        _DESKS[wanted] = folder
    return _DESKS[wanted]


# Of this process: a desk for each set of contents, and the contents it has locked and found whole.
_DESKS: dict[frozenset[tuple[Path, str]], Path] = {}
_HELD: dict[str, Path] = {}


def _hold(content: Content, get: Callable[[Any], bytes]) -> Path:
    """Where the content is, from now on locked: fetched if it is not there, or not whole."""
    entry = cache().resolve() / content.md5
    _lock(entry)
    with (entry / TURN).open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # one process fetches it, the others wait and find it
        os.utime(entry)
        inside = entry / CONTENT
        if not (inside.exists() and hashing.md5(inside) == content.md5):
            _tidy()
            _unpack(content, inside, get)
    return _HELD.setdefault(content.md5, inside)


def _unpack(content: Content, path: Path, get: Callable[[Any], bytes]) -> None:
    with replacing(path) as temporary:
        if "." not in content.pieces:
            temporary.mkdir()
        for name, pieces in content.pieces.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as opened:
                for piece in pieces:
                    opened.write(get(piece))
    if hashing.md5(path) != content.md5:
        raise UserError(f"{path} is not what was sent: it changed here, or while it was read")


def _lock(folder: Path) -> None:
    """Makes the folder if it is not there; until this process ends, none removes it."""
    while True:
        folder.mkdir(exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if folder.exists() and folder.stat().st_ino == os.fstat(lock).st_ino:
            return
        os.close(lock)  # it was removed, and perhaps made anew, meanwhile


def _tidy() -> None:
    """Removes desks of processes that have ended, and contents that nobody has used of late."""
    for entry in cache().resolve().iterdir():
        with suppress(FileNotFoundError):  # others tidy as well
            lock = os.open(entry, os.O_RDONLY)
            with suppress(BlockingIOError):  # somebody works with it
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if entry.name.startswith(DESK) or time.time() - entry.stat().st_mtime > UNUSED:
                    remove(entry)
            os.close(lock)
