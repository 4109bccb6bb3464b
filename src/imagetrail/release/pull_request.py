"""What a retraining found, as a branch for one pull request: merging it is the promotion."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from imagetrail.base import pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_json, replacing
from imagetrail.base.paths import ARTIFACTS, CHAMPION, CHAMPION_FOLDER, LEDGER, PROJECT_FILE
from imagetrail.release import git_dvc, ledger, promotion, readings, signing

# All are written anew each time.
BRANCH, PICTURES, REJECTED = "retrain", "retrain-pictures", "retrain-rejected"
BODY = Path(".imagetrail/proposal.md")
SHOWN = 20  # commits
LIMIT = 60_000  # characters; GitHub takes 65,536
RESULTS = ("dvc.lock", str(ARTIFACTS), str(CHAMPION))
FIGURES = ("top1", "macro_recall", "macro_f1", "log_loss", "ece_calibrated")


def recall(root: Path = Path()) -> str:
    """Checks out the results of the last unmerged run, so that DVC runs only what changed since.

    Not where there have been other results since that run began, nor where those of the last commit
    were made from all that it has, as after a revert. DVC's own run-cache does not do: it pushes
    nothing of metrics, without which `dvc repro` runs a stage again.
    """
    git_dvc.refuse_without_commit(root, "a retraining")
    signing.refuse_trouble(root)
    readings.take(root)
    remote = [f"refs/remotes/origin/{name}" for name in (BRANCH, REJECTED)]
    newest_first = git_dvc.git(
        root, "for-each-ref", "--sort=-committerdate", "--format=%(refname:short)", *remote
    )
    results, current = RESULTS[:2], _current(root)
    for branch in (newest_first or "").split():
        if not (root / PROJECT_FILE).exists():
            git_dvc.git(root, "checkout", branch, "--", str(PROJECT_FILE))
        begun = git_dvc.git(root, "merge-base", "HEAD", branch)
        moved = current or begun is None
        moved = moved or git_dvc.git(root, "diff", "--quiet", str(begun), "--", *results) is None
        if not moved and git_dvc.git(root, "checkout", branch, "--", *results) is not None:
            return f"beginning with the results of {branch}"
    return "beginning with the results of the last commit"


def _current(root: Path) -> bool:
    """Whether nothing but results differs from the commit that last brought results."""
    last = _last_results(root)
    same = ("diff", "--quiet", last, "HEAD", "--", *_all_but(*RESULTS))
    return bool(last) and git_dvc.git(root, *same) is not None


def _last_results(root: Path) -> str:
    """The commit that last brought results; empty if none has."""
    return git_dvc.git(root, "log", "-1", "--format=%H", "--", RESULTS[0]) or ""


def _all_but(*paths: str) -> list[str]:
    """As Git's pathspec."""
    return [".", *(f":(exclude){path}" for path in paths)]


def propose(root: Path = Path()) -> str:
    """Commits new results to the branch `retrain`, on PROMOTE with the champion; returns a summary.

    REJECT, and results that the last commit has, change nothing: what was rejected goes to the
    branch `retrain-rejected`, for `recall`. What a reviewer reads is in .imagetrail/proposal.md.
    Raises UserError if anything but results has changed since the last commit, and if results are
    not those that dvc.lock names, as while a stage runs.
    """
    _refuse_other_changes(root)
    begun = _begun(root)
    decision = begun or read_json(root / ARTIFACTS / "gate" / "decision.json")
    committed = pipeline.version(pipeline.lock(root)) == pipeline.version(_committed(root))
    if committed and not begun:
        summary = "nothing to do: the results are those of the last commit"
        again = _on_branch(root) and (root / BODY).exists()  # what was to be read of them still is
        return summary if again else _finish(root, summary, "")
    if not begun:
        promotion.refuse_part(root)
    if decision["decision"] == "REJECT":
        _keep(root, f"Rejected: {decision['reason']}")
        report = _report(root, pictures="")
        return _finish(root, f"REJECT: {decision['reason']}; nothing is changed", report)
    if begun:  # and has written what a reviewer reads
        report = (root / BODY).read_text().partition("\n\n")[2]
    else:
        report = _report(root, pictures=_pictures(root))
    git_dvc.git(root, "checkout", "--quiet", "-B", BRANCH)
    done = f"{decision['decision']}: the results are on the branch {BRANCH}"
    _finish(root, done, report)  # now: the next report knows the new champion
    if begun:
        git_dvc.dvc(root, "repro")  # it may have been at the gate
    else:
        top1 = _interval(_metrics(root, ARTIFACTS / "evaluate"), "top1")
        _commit(root, f"Retrained: {decision['decision']}, top-1 {top1}")
    if decision["decision"] == "PROMOTE" and (promotion.promote(root) or begun):
        git_dvc.dvc(root, "repro")  # the gate has read another champion
        entry = ledger.read(root)[-1]
        _commit(root, f"Champion: {entry.model[:12]}, number {entry.number} of the ledger")
        done += ", with the new champion"
    return _finish(root, done, report)


def _begun(root: Path) -> dict[str, Any] | None:
    """The decision of a proposal that was killed between its two commits; None if there is none."""
    text = git_dvc.git(root, "show", f"HEAD:./{ARTIFACTS}/gate/decision.json")
    decision: dict[str, Any] = json.loads(text) if text and _on_branch(root) else {}
    lines = (git_dvc.git(root, "show", f"HEAD:./{LEDGER}") or "").splitlines()
    if decision.get("decision") != "PROMOTE" or decision["challenger"] in "".join(lines[-1:]):
        return None
    promoted = [entry.model for entry in ledger.read(root)[-1:]] == [decision["challenger"]]
    same = pipeline.version(pipeline.lock(root)) == pipeline.version(_committed(root))
    return decision if promoted or same else None


def _on_branch(root: Path) -> bool:
    return git_dvc.git(root, "branch", "--show-current") == BRANCH


def _refuse_other_changes(root: Path) -> None:
    others = _all_but(*RESULTS, str(PROJECT_FILE))
    git_dvc.refuse_without_commit(root, "a proposal")
    if changed := git_dvc.git(root, "status", "--porcelain", "--untracked-files=no", "--", *others):
        raise UserError(
            f"commit or stash first what is no result: {changed.splitlines()[0][2:].strip()}"
        )


def _committed(root: Path) -> dict[str, Any]:
    """The stages of the last commit's dvc.lock."""
    value = yaml.safe_load(git_dvc.git(root, "show", "HEAD:./dvc.lock") or "") or {}
    return dict(value.get("stages", {}))


def _commit(root: Path, message: str) -> None:
    paths = [path for path in RESULTS if (root / path).exists()]
    _add(root, *paths)
    git_dvc.demand(root, "commit", "-qm", message)


def _keep(root: Path, message: str) -> None:
    """The results as a commit of the branch `retrain-rejected`, which nobody merges."""
    _add(root, *RESULTS[:2])
    _set_branch(root, REJECTED, git_dvc.git(root, "write-tree"), message, "-p", "HEAD")
    git_dvc.git(root, "reset", "--quiet")


def _add(root: Path, *paths: str) -> None:
    """Stages them, and who the project is on a server."""
    if (root / PROJECT_FILE).exists():  # which an older .gitignore would leave out
        git_dvc.demand(root, "add", "--force", "--", str(PROJECT_FILE))
    git_dvc.demand(root, "add", "--all", "--", *paths)


def _set_branch(root: Path, name: str, tree: str | None, message: str, *parents: str) -> str:
    """Makes a branch of a commit with this tree, without checking it out; returns the commit."""
    commit = git_dvc.git(root, "commit-tree", *parents, "-m", message, str(tree)) or ""
    git_dvc.git(root, "branch", "--force", name, commit)
    return commit


def _report(root: Path, *, pictures: str) -> str:
    """The report, after a table of champion and challenger, and before what it took."""
    old, new = _metrics(root, CHAMPION_FOLDER), _metrics(root, ARTIFACTS / "evaluate")
    rows = [
        f"| {name} | {_interval(old, name)} | {_interval(new, name)} |"
        for name in FIGURES
        if name in new
    ]
    text = (root / ARTIFACTS / "report" / "report.md").read_text()
    table = ["| on test, 95 % | champion, when promoted | challenger |", "|---|---|---|", *rows]
    return "\n".join([*_changes(root), *table, "", pictures, text, "", _cost(root)])


def _changes(root: Path) -> list[str]:
    """What a reviewer has to know first: the commits since the last results, newest first."""
    known = f"{last}.." if (last := _last_results(root)) else ""
    words = ["log", "--no-merges", f"--max-count={SHOWN}", "--format=- %h %s (%an)"]
    found = git_dvc.git(root, *words, f"{known}HEAD", "--", *_all_but(*RESULTS[:2]))
    return ["Since the last results:", "", *found.splitlines(), ""] if found else []


def _metrics(root: Path, folder: Path) -> dict[str, float]:
    file = root / folder / "metrics.json"
    return dict(read_json(file)) if file.exists() else {}


def _interval(found: dict[str, float], name: str) -> str:
    if name not in found:
        return "–"
    if f"{name}_low" not in found:
        return f"{found[name]:.4f}"
    return f"{found[name]:.4f} ({found[f'{name}_low']:.4f} – {found[f'{name}_high']:.4f})"


def _cost(root: Path) -> str:
    clocks = [read_json(file) for file in sorted((root / ARTIFACTS).glob("*/timing.json"))]
    seconds = sum(clock.get("seconds", 0) for clock in clocks)
    memory = max((clock.get("peak_rss_bytes", 0) for clock in clocks), default=0)
    return (
        f"Cost: {seconds:.0f} s for all stages, of which some may have run earlier; "
        f"at most {memory / 1e9:.1f} GB of memory."
    )


def _pictures(root: Path) -> str:
    """Links to the pictures, in a commit of their own; none unless PICTURES_URL is set.

    It is an address with `{commit}` and `{file}` in it. The branch has one commit, which the next
    one replaces: a repository does not grow by them.
    """
    files = [
        file
        for stage in ("evaluate", "gate")
        for file in sorted((root / ARTIFACTS / stage).glob("*.png"))
    ]
    address = os.environ.get("PICTURES_URL", "")
    if not files or not address:
        return ""
    rows = [
        f"100644 blob {git_dvc.git(root, 'hash-object', '-w', str(file.resolve()))}\t{file.name}"
        for file in files
    ]
    tree = git_dvc.git(root, "mktree", given="\n".join(rows) + "\n")
    commit = _set_branch(root, PICTURES, tree, "Pictures of the last proposal")
    links = [
        f"![{file.stem}]({address.replace('{commit}', commit).replace('{file}', file.name)})"
        for file in files
    ]
    return "\n".join(links) + "\n"


def _finish(root: Path, summary: str, report: str) -> str:
    """Writes what a reviewer reads, and returns the summary."""
    text = f"{summary[0].upper()}{summary[1:]}.\n\n{report}"
    if len(text) > LIMIT:
        text = f"{text[:LIMIT]}\n\n… cut off: the rest is in artifacts/report.\n"
    with replacing(root / BODY) as temporary:
        temporary.write_text(text)
    return summary
