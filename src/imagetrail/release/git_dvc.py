"""Git and DVC as commands."""

import getpass
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from imagetrail.base.errors import UserError
from imagetrail.base.words import without_secrets
from imagetrail.compute.processes import end_with_parent

DVC = (sys.executable, "-m", "dvc")
PATIENCE = 10  # seconds that one which is interrupted has to end


def git(root: Path, *words: str, given: str | None = None) -> str | None:
    """What git prints, with `given` on its stdin; None if it fails, as outside a repository.

    Raises UserError if git is not installed, or refuses a repository that another user owns.
    """
    done = _git(root, *words, given=given)
    return done.stdout.strip() if done.returncode == 0 else None


def demand(root: Path, *words: str, given: str | None = None) -> str:
    """The same of what must not fail; raises UserError with git's own reason."""
    done = _git(root, *words, given=given)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = (said or ["it gives no reason"])[0].removeprefix("fatal: ")
        raise UserError(f"`git {words[0]}` failed: {reason}")
    return done.stdout.strip()


def refused(root: Path, *words: str) -> str:
    """Why git refuses, in one line; empty if it does what it is told."""
    done = _git(root, *words, given=None)
    if not done.returncode:
        return ""
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    lines = [re.sub(r"^(fatal|error|remote): *", "", line) for line in said]
    return without_secrets("; ".join(dict.fromkeys(lines))) or "git gives no reason"


def _git(root: Path, *words: str, given: str | None) -> subprocess.CompletedProcess[str]:
    try:
        done = _ended(
            ["git", "-C", str(root), *words],
            given=given,
            stdin=None if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"LC_ALL": "C.UTF-8"},  # its reasons are looked at, and shown
        )
    except FileNotFoundError:
        raise UserError("git is not installed, or not on PATH; install it") from None
    if done.returncode and "dubious ownership" in done.stderr:
        top = root.resolve()
        raise UserError(
            f"git does not touch {top}, which belongs to another user; "
            f"run `git config --global --add safe.directory {shlex.quote(str(top))}`"
        )
    return done


def refuse_without_repository(root: Path, what: str) -> None:
    """Raises UserError unless there is a repository, which `what` needs; DVC may do without."""
    config = root / ".dvc" / "config"
    alone = config.exists() and re.search(r"^\s*no_scm *= *true", config.read_text(), re.MULTILINE)
    if git(root, "rev-parse", "--git-dir") is None and not alone:
        raise UserError(
            f"{what} needs the history of the project, and {root.resolve()} is in no Git "
            "repository; clone the project rather than download it"
        )


def refuse_without_commit(root: Path, what: str) -> None:
    """The same, also where there is no commit."""
    refuse_without_repository(root, what)
    if not head(root):
        raise UserError(f"{what} needs a first commit; `git commit` makes one")


def refuse_trouble(root: Path) -> None:
    """Raises UserError if Git would fail later, after hours of work; without a repository: no."""
    if shutil.which("git") or (root / ".git").exists():
        git(root, "rev-parse", "--git-dir")


def head(root: Path) -> str:
    """The commit that is checked out; empty outside git and before the first."""
    return git(root, "rev-parse", "--verify", "--quiet", "HEAD") or ""


def user(root: Path) -> str:
    """Git's name and address, else the account's name."""
    known = git(root, "var", "GIT_AUTHOR_IDENT")  # and the time
    if known:
        return known.rsplit(" ", 2)[0]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"uid {os.getuid()}"


def dvc(
    root: Path, *words: str, environment: dict[str, str] | None = None, shown: bool = False
) -> str:
    """Runs DVC and returns what it prints, or shows it; raises UserError with DVC's own message."""
    to = None if shown else subprocess.PIPE
    env = _environment() | (environment or {})
    done = _ended([*DVC, *words], cwd=root, env=env, stdout=to, stderr=to, preexec_fn=_end_with_us)
    if done.returncode:
        lines = (done.stderr or "").splitlines()
        errors = [line for line in lines if line.startswith("ERROR: ")]
        message = (errors or lines or ["the reason is above"])[0].removeprefix("ERROR: ")
        raise UserError(f"`dvc {' '.join(words)}` failed: {message}")
    return (done.stdout or "").strip()


def _ended(
    words: Sequence[str], *, given: str | None = None, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run`, which kills a process when it is itself interrupted; here that is asked.

    It takes its locks with it then.
    """
    with subprocess.Popen(words, text=True, **options) as process:
        try:
            output, errors = process.communicate(given)
        finally:
            if process.poll() is None:  # we are interrupted
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
                process.kill()
    return subprocess.CompletedProcess(words, process.returncode, output, errors)


def stoppable(root: Path, *words: str) -> int:
    """Runs DVC as `dvc` does, shown; SIGINT and SIGTERM end it in order, whoever gets them.

    DVC itself ignores a SIGINT while a stage runs, for at a terminal its stage has it too. Here the
    first signal goes to both as SIGINT, which has the stage keep its state and DVC its files whole;
    another one as SIGTERM. Returns the exit code: 128 and the signal's number after one.
    """
    stopped: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        os.killpg(process.pid, signal.SIGTERM if stopped[1:] else signal.SIGINT)

    process = subprocess.Popen(
        [*DVC, *words], cwd=root, env=_environment(), process_group=0, preexec_fn=_end_with_us
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    code = process.wait()
    return 128 + stopped[0] if stopped else code


def _environment() -> dict[str, str]:
    """That of DVC, whose stages are our own command, also where its folder is on no PATH."""
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return os.environ | {"DVC_NO_ANALYTICS": "1", "PATH": folders}


def _end_with_us() -> None:
    """In a child: it ends when this process does; SIGINT, which a shell's `&` ignores, counts."""
    end_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def cache_folder(root: Path) -> Path:
    """Where DVC keeps content: `files/md5/` and the run-cache `runs/` below it."""
    return root / dvc(root, "cache", "dir")


def cached(cache: Path, md5: str) -> Path:
    """The file of the cache that holds this content; of a folder: its listing."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]
