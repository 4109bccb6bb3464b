"""Git and DVC as commands, and content hashed as DVC hashes it."""

import getpass
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from imagetrail.base.errors import UserError


def git(root: Path, *words: str, given: str | None = None) -> str | None:
    """What git says to these words and to what it is given to read; None where it fails, as outside a repository."""
    done = subprocess.run(["git", "-C", str(root), *words], input=given, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def head(root: Path) -> str:
    """The commit that is checked out; empty outside git and before the first."""
    return git(root, "rev-parse", "--verify", "--quiet", "HEAD") or ""


def user(root: Path) -> str:
    """Who works here: git's name and address, else the account's name."""
    known = git(root, "var", "GIT_AUTHOR_IDENT")  # and the time
    return known.rsplit(" ", 2)[0] if known else getpass.getuser()


def dvc(root: Path, *words: str, environment: dict[str, str] | None = None, shown: bool = False) -> str:
    """Runs DVC and returns what it prints, or shows it; raises UserError with its word if it fails."""
    env = os.environ | {"DVC_NO_ANALYTICS": "1"} | (environment or {})
    done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, env=env, capture_output=not shown, text=True)
    if done.returncode:
        lines = (done.stderr or "").splitlines()
        said = [line for line in lines if line.startswith("ERROR: ")] or lines or ["it says why above"]
        raise UserError(f"`dvc {' '.join(words)}` failed: {said[0].removeprefix('ERROR: ')}")
    return (done.stdout or "").strip()


def cache_folder(root: Path) -> Path:
    """Where DVC keeps content: `files/md5/` and the run-cache `runs/` below it."""
    return root / dvc(root, "cache", "dir")


def cached(cache: Path, md5: str) -> Path:
    """The file of the cache that holds this content; of a folder: its listing."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def sha256(path: Path) -> str:
    return _digest(path, "sha256")


def md5(path: Path) -> str:
    """DVC's hash of a file or, with `.dir` at its end, of a folder."""
    if not path.is_dir():
        return _digest(path, "md5")
    return listing_md5(contents(path))


def contents(folder: Path) -> dict[str, str]:
    """The MD5 of every file in a folder, by its path inside."""
    files = sorted(Path(base, name) for base, _, names in os.walk(folder) for name in names)
    return {file.relative_to(folder).as_posix(): found for file, found in hashed(files)}


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
