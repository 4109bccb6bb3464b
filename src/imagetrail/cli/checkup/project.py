"""The project: params, Git, DVC, locks that were left behind, versions."""

import configparser
import fcntl
import re
import time
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.cli.checkup.check import Check, fault, ok, warning
from imagetrail.release import git_dvc, lock_files

MINUTE = 60
LOCKED = Path("requirements.lock")
LINE = re.compile(r"^[A-Za-z0-9][^\\\n]*", re.MULTILINE)  # of a package, without its hashes


def params(_: Path) -> Check:
    from imagetrail.cli.params import SECTIONS, check_all

    try:
        check_all()
    except UserError as error:
        first, *more = str(error).splitlines()
        return fault(first + (f" and {len(more)} more" if more else ""), "`imagetrail params`")
    return ok(f"all {len(SECTIONS)} sections of params.yaml are valid")


def git(root: Path) -> Check:
    top = git_dvc.git(root, "rev-parse", "--absolute-git-dir")
    if top is None:
        return fault("no repository", "clone the project rather than download it")
    if (Path(top) / "MERGE_HEAD").exists():
        return fault("a merge that is not done", "`git status` says what is left to do")
    if not git_dvc.head(root):
        return warning("no commit yet", "commit: runs are noted with the commit that they are of")
    changed = git_dvc.git(root, "status", "--porcelain", "--untracked-files=no") or ""
    if changed:
        cure = "commit what is no result: `make retrain` refuses to begin with it"
        return warning(f"{len(changed.splitlines())} changed files are in no commit", cure)
    return ok("everything is in a commit")


def dvc(root: Path) -> Check:
    if not (root / ".dvc").is_dir():
        return fault("no .dvc folder", "`dvc init`, or clone the project anew")
    told = lock_files.heal(root)
    paths.champion_present(root)
    if told:
        return warning(told[0], "nothing: it is mended")
    remotes = [name for name in _config(root).sections() if name.startswith("'remote ")]
    where = f"{len(remotes)} remote" if remotes else "no remote: models are on this machine only"
    return ok(f"dvc.lock is whole, {where}")


def _config(root: Path) -> configparser.RawConfigParser:
    found = configparser.RawConfigParser(strict=False)
    found.read([root / ".dvc/config", root / ".dvc/config.local"])
    return found


def remotes(root: Path) -> list[str]:
    """The folders and addresses of DVC's remotes."""
    config = _config(root)
    urls = [config.get(name, "url", fallback="") for name in config.sections()]
    # DVC notes a folder as seen from its file
    return [url if "://" in url else str(root / ".dvc" / url) for url in urls if url]


def locks(root: Path) -> Check:
    """Who is at work here, and what those who were have left behind."""
    index = git_dvc.git(root, "rev-parse", "--absolute-git-dir")
    left = Path(index or ".git") / "index.lock"
    if left.exists() and time.time() - left.stat().st_mtime > MINUTE:
        return fault(f"{left.name} of a git that was killed", f"`rm {left}`, if no git runs")
    at_work = [f"{command} ({pid})" for pid, command in lock_files.at_work(root).items()]
    if at_work or _held(root / ".dvc/tmp/lock"):
        return warning(f"at work: {', '.join(at_work) or 'DVC'}", "wait until it has ended")
    if _held(root / ".imagetrail/promotion.lock"):
        return warning("at work: a promotion", "wait until it has ended")
    return ok("nobody is at work here")


def _held(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def versions(root: Path) -> Check:
    """Packages that are installed in another version than the lock, or the pins, say."""
    file = next((f for f in (LOCKED, paths.REQUIREMENTS) if (root / f).exists()), None)
    if file is None:
        return ok("nothing pins them here")
    lines = LINE.findall((root / file).read_text())
    other = [text for line in lines if (text := _other(Requirement(line)))]
    if other:
        more = f" and {len(other) - 1} more" if other[1:] else ""
        return warning(f"{other[0]}{more}", f"`make setup` installs those of {file}")
    return ok(f"as {file} says")


def _other(pinned: Requirement) -> str:
    if pinned.marker and not pinned.marker.evaluate():
        return ""  # of another Python or system
    try:
        here = metadata.version(pinned.name)
    except metadata.PackageNotFoundError:
        return ""  # of an extra
    return (
        "" if pinned.specifier.contains(here) else f"{pinned.name} {here}, not {pinned.specifier}"
    )
