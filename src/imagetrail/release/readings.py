"""The readings of test images (`artifacts/gate/readings.csv`) of all machines: none is lost.

They are on a branch of their own, which only grows: a proposal may give way and rejected results be
written over, but what has judged a challenger has judged it. Whoever comes second to push is
refused by Git, takes in what is there, and pushes again.
"""

from pathlib import Path

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing
from imagetrail.base.paths import ARTIFACTS
from imagetrail.release import git_dvc

BRANCH = "retrain-readings"
THERE = f"refs/remotes/origin/{BRANCH}"
FILE = ARTIFACTS / "gate" / "readings.csv"
OTHERS = Path(".imagetrail/readings.csv")  # what the gate counts as well; no dep: it runs no stage
TRIES = 10


def take(root: Path) -> None:
    """Writes those that the branch had when it was fetched, for the gate."""
    if text := _there(root):
        with replacing(root / OTHERS) as temporary:
            temporary.write_text(text)


def offer(root: Path) -> None:
    """Adds ours to the branch; raises UserError with Git's reason if it cannot be pushed."""
    ours = (root / FILE).read_text() if (root / FILE).exists() else ""
    for _ in range(TRIES):
        there = _there(root)
        text = joined(there, ours)
        if text == there:
            return
        reason = _push(root, text)
        if not reason:
            return
        git_dvc.demand(root, "fetch", "--quiet", "origin")
    raise UserError(f"the branch {BRANCH} cannot be pushed: {reason}; run this again")


def joined(*texts: str) -> str:
    """The rows of all, each once, numbered anew under the header; empty without a row."""
    lines = [line for text in texts for line in text.splitlines()]
    rows = list(dict.fromkeys(line.partition(",")[2] for line in lines))  # first, the header
    numbered = (f"{number or 'number'},{row}\n" for number, row in enumerate(rows))
    return "".join(numbered) if rows[1:] else ""


def _there(root: Path) -> str:
    text = git_dvc.git(root, "show", f"{THERE}:{FILE.name}")
    return f"{text}\n" if text else ""


def _push(root: Path, text: str) -> str:
    """Pushes them as a commit on top of what was seen there; why not, if Git refuses."""
    blob = git_dvc.demand(root, "hash-object", "-w", "--stdin", given=text)
    tree = git_dvc.demand(root, "mktree", given=f"100644 blob {blob}\t{FILE.name}\n")
    tip = git_dvc.git(root, "rev-parse", "--verify", "--quiet", THERE) or ""
    parent = ["-p", tip] if tip else []
    commit = git_dvc.demand(root, "commit-tree", *parent, "-m", "Readings of test images", tree)
    lease = f"--force-with-lease=refs/heads/{BRANCH}:{tip}"
    return git_dvc.refused(
        root, "push", "--quiet", lease, "origin", f"{commit}:refs/heads/{BRANCH}"
    )
