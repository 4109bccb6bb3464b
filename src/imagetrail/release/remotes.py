"""What a retraining takes from the remotes of DVC and Git, and what it brings them."""

import re
from collections.abc import Sequence
from pathlib import Path

from imagetrail.base.errors import UserError
from imagetrail.base.paths import CHAMPION_POINTER
from imagetrail.release import git_dvc, readings
from imagetrail.release.pull_request import BRANCH, PICTURES, REJECTED

OFFERED = Path(".imagetrail/offered")
THEIRS, MAIN = f"refs/remotes/origin/{BRANCH}", "refs/remotes/origin/HEAD"


def pull(root: Path = Path()) -> str:
    """Takes from DVC's remote what dvc.lock and the pointers name; what it lacks is made again.

    Returns what came; empty without a remote. Raises UserError with DVC's own reason.
    """
    if not _has_remote(root):
        return ""
    if (root / CHAMPION_POINTER).exists():
        # It must come. And of one folder DVC finds within seconds that a store is down; of all, it
        # tries one after the other, for minutes.
        git_dvc.dvc(root, "pull", str(CHAMPION_POINTER))
    return git_dvc.dvc(root, "pull", "--allow-missing").rpartition("\n")[2]


def offer(root: Path = Path(), *, options: Sequence[str] = ()) -> str:
    """Pushes the branches of the last proposal, and what DVC has of them; returns what was done.

    A proposal gives way to one that began with a later commit of the main branch; its reading of
    the test images counts all the same. Without the right to push nothing is pushed, and that is no
    error: a fork has none. options: of the push that brings the proposal. Raises UserError if a
    remote is out of reach.
    """
    (root / OFFERED).unlink(missing_ok=True)
    others = [name for name in (PICTURES, REJECTED) if _commit(root, f"refs/heads/{name}")]
    mine = [BRANCH] if git_dvc.git(root, "branch", "--show-current") == BRANCH else []
    if not others + mine:
        return "nothing to offer"
    _fetch(root)
    instead = _merged(root) or _newer(root) if mine else ""
    refused = git_dvc.refused(root, "push", "--dry-run", "--force", "origin", *others, *mine)
    if refused:
        return instead or f"no right to push ({refused}): the summary is all there is"
    readings.offer(root)
    if instead:
        return instead
    if _has_remote(root):
        git_dvc.dvc(root, "push")
    if others:
        git_dvc.demand(root, "push", "--quiet", "--force", "origin", *others)
    if mine and (newer := _push(root, options)):
        return newer
    if mine:
        (root / OFFERED).touch()
    return f"offered: {', '.join(mine + others)}"


def _fetch(root: Path) -> None:
    if reason := git_dvc.refused(root, "fetch", "--quiet", "--prune", "origin"):
        raise UserError(
            f"git's remote is out of reach ({reason}); nothing is offered: run this again, "
            "or the next retraining finds the same"
        )
    git_dvc.git(root, "remote", "set-head", "origin", "--auto")


def _push(root: Path, options: Sequence[str]) -> str:
    """Pushes the proposal over the one that was seen there; says so where a newer one came."""
    given = [word for option in options for word in ("-o", option)]
    while True:
        seen = _commit(root, THEIRS)
        lease = f"--force-with-lease=refs/heads/{BRANCH}:{seen}"
        reason = git_dvc.refused(root, "push", "--quiet", lease, *given, "origin", BRANCH)
        if not reason:
            return ""
        _fetch(root)
        if newer := _newer(root):
            return newer
        if _commit(root, THEIRS) == seen:
            raise UserError(f"the branch {BRANCH} cannot be pushed: {reason}")


def _merged(root: Path) -> str:
    """What to say where the main branch has all that we have."""
    main = _commit(root, MAIN)
    merged = main and git_dvc.git(root, "merge-base", "--is-ancestor", "HEAD", main) is not None
    return "nothing to offer: the main branch has it" if merged else ""


def _newer(root: Path) -> str:
    """What to say where the proposal that is there began with a later commit than ours."""
    main = _commit(root, MAIN)
    ours, theirs = (git_dvc.git(root, "merge-base", tip, main) for tip in ("HEAD", THEIRS))
    if not ours or not theirs or ours == theirs:
        return ""
    if git_dvc.git(root, "merge-base", "--is-ancestor", ours, theirs) is None:
        return ""
    return f"nothing to offer: what is there began with {theirs[:7]}, later than {ours[:7]}"


def _commit(root: Path, reference: str) -> str:
    """The commit that a reference is at; empty if there is none."""
    return git_dvc.git(root, "rev-parse", "--verify", "--quiet", reference) or ""


def _has_remote(root: Path) -> bool:
    files = (root / ".dvc" / name for name in ("config", "config.local"))
    return any(
        re.search(r"^\[.remote ", file.read_text(), re.MULTILINE) for file in files if file.exists()
    )
