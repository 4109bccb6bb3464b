"""Content hashed as DVC hashes it: a file by its MD5, a folder by its listing."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

Ignored = Callable[[Path], bool]


def sha256(path: Path) -> str:
    return _digest(path, "sha256")


def md5(path: Path, *, ignored: Ignored | None = None) -> str:
    """DVC's hash of a file or, with `.dir` at its end, of a folder."""
    if not path.is_dir():
        return _digest(path, "md5")
    return listing_md5(contents(path, ignored=ignored))


def contents(folder: Path, *, ignored: Ignored | None = None) -> dict[str, str]:
    """The MD5 of every file in a folder that is not ignored, by its path inside."""
    files = sorted(Path(base, name) for base, _, names in os.walk(folder) for name in names)
    counted = [file for file in files if not (ignored and ignored(file))]
    return {file.relative_to(folder).as_posix(): found for file, found in hashed(counted)}


def dvcignore(root: Path) -> Ignored:
    """Tells the paths below `root` that DVC passes over, by the patterns of its .dvcignore."""
    from dulwich.ignore import IgnoreFilter  # here: only a stage that may resume needs it

    file = root / ".dvcignore"
    patterns = IgnoreFilter(file.read_bytes().splitlines() if file.exists() else [])
    return lambda path: bool(patterns.is_ignored(path.relative_to(root).as_posix()))


def listing_md5(files: Mapping[str, str]) -> str:
    """DVC's hash of a folder with these contents: that of its listing."""
    rows = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(rows).encode()).hexdigest() + ".dir"


def hashed(files: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Each file with its MD5; several are read at once, in pieces."""
    waiting = iter(files)
    with ThreadPoolExecutor() as pool:
        while some := list(islice(waiting, 1000)):
            yield from zip(some, pool.map(lambda file: _digest(file, "md5"), some), strict=True)


def _digest(path: Path, method: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, method).hexdigest()
