"""What a kill leaves of DVC's own files, which it writes in place, and of Git's locks.

A torn dvc.lock or .dvc/tmp/rwlock blocks every command of DVC. So does an rwlock of a process that
was killed, as long as its number is taken: by itself, which in a container nobody may have reaped,
or by another. A copy of dvc.lock is taken whenever a command or a stage begins, so at most the
stage that ended last is not in it: DVC runs that again, or takes it from its run-cache.
"""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing
from imagetrail.release import git_dvc, git_locks

LOCK, TEMPORARY = Path("dvc.lock"), Path(".dvc/tmp")
USERS = TEMPORARY / "rwlock"  # DVC's list of who reads and writes what
COPY, DAMAGED = Path(".imagetrail/dvc.lock"), Path(".imagetrail/dvc.lock.damaged")
PATIENCE = 10  # seconds that a DVC at work has to end its writing
CONFLICT = (
    f"{LOCK} is in conflict between two branches; run `git checkout --ours -- {LOCK}`, or with "
    "--theirs, then `dvc repro`: it runs what is missing"
)

Hash = Annotated[str, StringConstraints(min_length=3)] | Annotated[int, Field(ge=100)] | None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Content(_Strict):
    path: str
    md5: Hash | Literal[""] = None
    checksum: Hash | Literal[""] = None
    etag: Hash | Literal[""] = None
    size: int = 0
    nfiles: int = 0
    isexec: bool = False
    version_id: str = ""
    hash: str = ""
    cloud: Any = None
    files: Any = None
    dataset: Any = None


class _Stage(_Strict):
    cmd: str | list[Any]
    deps: list[_Content] = []
    params: dict[str, dict[str, Any]] = {}
    outs: list[_Content] = []


class _Lock(_Strict):
    """What DVC takes for a dvc.lock (`dvc.schema`): where it knows more, another key is a fault."""

    form: Literal["2.0"] = Field(alias="schema")
    datasets: Any = None
    stages: dict[str, _Stage] = {}


def keep(root: Path) -> None:
    """Copies dvc.lock, which must be whole; where nothing can be written, there is no copy."""
    with suppress(OSError):
        text = (root / LOCK).read_bytes()
        if not (root / COPY).exists() or (root / COPY).read_bytes() != text:
            _write(root / COPY, text)


def heal(root: Path) -> list[str]:
    """Puts back what a kill has torn, and says so, a line each.

    Raises UserError if dvc.lock is in conflict between two branches, or if DVC does not let go.
    """
    told = []
    copied = (root / COPY).read_bytes() if (root / COPY).is_file() else None
    text = (root / LOCK).read_bytes() if (root / LOCK).exists() else copied
    if text != copied and not _whole(text or b""):  # what has been copied was whole
        with _held(root / TEMPORARY / "lock"):
            text = (root / LOCK).read_bytes()  # DVC may have been at it
            if not _whole(text):
                told.append(_restore(root, text))
    if (root / LOCK).exists():
        keep(root)
    if _wrong_users(root):
        with _held(root / TEMPORARY / "rwlock.lock"):
            if why := _wrong_users(root):
                (root / USERS).unlink()
                told.append(f"{USERS} {why}: removed")
    return told + git_locks.heal(root)


def _restore(root: Path, damaged: bytes) -> str:
    if any(line.startswith(b"<<<<<<<") for line in damaged.splitlines()):
        raise UserError(CONFLICT)
    _write(root / DAMAGED, damaged)
    what = f"{LOCK} was torn, as by a kill while DVC wrote it"
    for origin, text in _copies(root):
        if _whole(text):
            _write(root / LOCK, text)
            return f"{what}: restored from {origin}"
    (root / LOCK).unlink()
    return f"{what}: removed; `dvc repro` takes what has run from DVC's run-cache"


def _copies(root: Path) -> Iterator[tuple[str, bytes]]:
    if (root / COPY).is_file():
        yield str(COPY), (root / COPY).read_bytes()
    known = git_dvc.git(root, "show", f"HEAD:./{LOCK}")
    if known is not None:
        yield "the last commit", f"{known}\n".encode()


def _whole(text: bytes) -> bool:
    """Whether DVC would take it."""
    from ruamel.yaml import YAML  # here: a project without a dvc.lock needs none of it
    from ruamel.yaml.error import YAMLError

    try:
        _Lock.model_validate(YAML(typ="safe").load(text))
    except (YAMLError, ValidationError, ValueError):
        return False
    return True


def at_work(root: Path) -> dict[int, str]:
    """The processes of DVC that read or write here: of each number the command; none if torn."""
    return {pid: command for pid, command in _users(root) or () if _is_there(pid, command)}


def _wrong_users(root: Path) -> str:
    """Why DVC's list would stop it for nothing; empty if it would not."""
    import psutil  # here: most commands find no list

    users = _users(root)
    if users is None:
        return "was torn, as by a kill"
    if any(psutil.pid_exists(pid) for pid, _ in users) and not at_work(root):
        return "named a DVC that was killed"
    return ""


def _users(root: Path) -> list[tuple[int, str]] | None:
    """Numbers and commands on DVC's list; None if it is torn."""
    try:
        noted = json.loads((root / USERS).read_bytes())
        found = [info for infos in noted.get("read", {}).values() for info in infos]
        found += noted.get("write", {}).values()
        return [(int(info["pid"]), str(info["cmd"])) for info in found]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, AttributeError):  # or damaged, and JSON nevertheless
        return None


def _is_there(pid: int, command: str) -> bool:
    """Whether there is such a process, whose command ends like this one, as far as can be seen."""
    import psutil

    try:
        return " ".join(command.split()[-1:]) in " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False  # or a zombie
    except psutil.Error:
        return True


def _write(path: Path, text: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(text)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Holds one of DVC's locks, as DVC does while it writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise UserError(f"DVC is at work and holds {path}; try again later") from None
                time.sleep(0.1)
        yield
