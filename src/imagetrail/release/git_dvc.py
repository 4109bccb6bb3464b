"""Git and DVC as commands."""

import getpass
import os
import subprocess
import sys
from pathlib import Path

from imagetrail.base.errors import UserError


def git(root: Path, *words: str, given: str | None = None) -> str | None:
    """What git prints, with `given` on its stdin; None if it fails, as outside a repository."""
    done = subprocess.run(
        ["git", "-C", str(root), *words], input=given, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else None


def head(root: Path) -> str:
    """The commit that is checked out; empty outside git and before the first."""
    return git(root, "rev-parse", "--verify", "--quiet", "HEAD") or ""


def user(root: Path) -> str:
    """Git's name and address, else the account's name."""
    known = git(root, "var", "GIT_AUTHOR_IDENT")  # and the time
    return known.rsplit(" ", 2)[0] if known else getpass.getuser()


def dvc(
    root: Path, *words: str, environment: dict[str, str] | None = None, shown: bool = False
) -> str:
    """Runs DVC and returns what it prints, or shows it; raises UserError with DVC's own message."""
    env = os.environ | {"DVC_NO_ANALYTICS": "1"} | (environment or {})
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=root,
        env=env,
        capture_output=not shown,
        text=True,
    )
    if done.returncode:
        lines = (done.stderr or "").splitlines()
        errors = [line for line in lines if line.startswith("ERROR: ")]
        message = (errors or lines or ["the reason is above"])[0].removeprefix("ERROR: ")
        raise UserError(f"`dvc {' '.join(words)}` failed: {message}")
    return (done.stdout or "").strip()


def cache_folder(root: Path) -> Path:
    """Where DVC keeps content: `files/md5/` and the run-cache `runs/` below it."""
    return root / dvc(root, "cache", "dir")


def cached(cache: Path, md5: str) -> Path:
    """The file of the cache that holds this content; of a folder: its listing."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]
