"""Copies of a project on which faults are made, and all that must come out nevertheless.

How many faults there are, and from which seed, say FAULTS and SEED.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tiny_project
from mlflow_store import said_of
from PIL import Image
from project import Project
from sklearn.datasets import load_digits

from imagetrail.base import pipeline
from imagetrail.cli.main import STAGES
from imagetrail.release import ledger, verification

# What has a time, a commit or the number of a run in it.
BY_CHANCE = ("timing.json", "SOURCE.json", "origin.json", "run.js")
FAULTS, SEED = int(os.environ.get("FAULTS", "0")), os.environ.get("SEED", "0")
DECIDED = ("artifacts", "data", "champion/model", "params.yaml", "labels.csv")
TEAM = ".git/team"  # the remotes of Git and DVC: below the copy, and none of its files


# ---- what comes before a command ----


def built(project: Project) -> None:
    """The pipeline has run, and nothing else."""
    tiny_project.build(project.root)


def without_results(project: Project) -> None:
    """DVC then takes all from its run-cache, and writes dvc.lock 17 times in a few seconds."""
    (project.root / "dvc.lock").unlink()
    shutil.rmtree(project.root / "artifacts")


def without_mlflow(project: Project) -> None:
    for path in project.root.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(project.root / "mlartifacts", ignore_errors=True)


def promoted(project: Project) -> None:
    project.imagetrail("promote")


def uncommitted(project: Project) -> None:
    """The results are new: the last commit has none."""
    project.run("git", "reset", "--quiet", "HEAD~1")


def proposed(project: Project) -> None:
    """In a team, whose main branch is at the first commit."""
    uncommitted(project)
    project.run("git", "init", "--quiet", "--bare", "--initial-branch=main", f"{TEAM}/origin.git")
    project.run("git", "remote", "add", "origin", f"{TEAM}/origin.git")
    project.run("git", "push", "--quiet", "origin", "main")
    project.dvc("remote", "add", "--quiet", "--local", "--default", "store", f"{TEAM}/store")
    project.imagetrail("propose")


def offered(project: Project) -> None:
    """Another machine begins, which has nothing yet."""
    proposed(project)
    project.imagetrail("offer")
    project.run("git", "checkout", "--quiet", "main")
    project.run("git", "clean", "--quiet", "-dfx", "--exclude=.dvc/config.local")


def with_pictures(project: Project) -> None:
    """In a folder whose name `init` takes for the data's: `pictures` would be the project's."""
    digits = load_digits()
    for number in range(0, len(digits.target), 9):
        file = project.root / f"signs/{digits.target[number]}/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15.9).astype(np.uint8)).save(file)


def with_labels(project: Project) -> None:
    """Of COCO's kind."""
    kinds = [{"id": number, "name": f"kind {number}"} for number in range(10)]
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(2000)]
    notes = [{"image_id": number, "category_id": number % 10} for number in range(2000)]
    content = {"images": images, "annotations": notes, "categories": kinds}
    (project.root / "labels.json").write_text(json.dumps(content))


def pictures_alone(project: Project) -> None:
    """There is no project."""
    shutil.rmtree(project.root)
    with_pictures(project)


COMMANDS: dict[str, Callable[[Project], None]] = {
    **{f"repro --force --single-item {stage}": built for stage in STAGES},
    "repro": without_results,
    "publish": without_mlflow,
    "promote": built,
    "rollback 1": promoted,
    "propose": uncommitted,
    "offer": proposed,
    "recall": offered,
    "verify": built,
    "schema": built,
    "doctor": built,
    "init digits --minutes 600": built,
    "init signs --minutes 600": pictures_alone,
    "import labels.json": with_labels,
    "suggest signs": with_pictures,
    "drift signs": with_pictures,
}


# ---- what comes of it ----


def results(project: Project, command: str) -> dict[str, Any]:
    """All that a command decides, and nothing that a clock does."""
    if COMMANDS[command] is pictures_alone:
        return {"files": hashes(project, "."), "branch": _branch(project)}
    root = project.root
    locked = pipeline.lock(root)
    changed = project.run("git", "status", "--porcelain", "--untracked-files=no")
    found: dict[str, Any] = {
        "lock": {name: pipeline.results(entry) for name, entry in locked.items()},
        "files": hashes(
            project, "artifacts", "data", "champion/model", "params.yaml", "labels.csv"
        ),
        "ledger": [(line.number, line.action, line.model) for line in ledger.read(root)],
        "verify": [str(finding) for finding in verification.verify(root, root / ".dvc/cache")],
        "branch": _branch(project),
        "tracked": project.run("git", "ls-files"),
        "changed": [line for line in changed.splitlines() if not line.endswith(BY_CHANCE)],
    }
    if command == "publish":
        found["mlflow"] = said_of(project.client())
    if command == "offer":
        there = ("git", f"--git-dir={TEAM}/origin.git")
        found["team"] = project.run(*there, "for-each-ref", "--format=%(refname) %(tree)")
        found["store"] = hashes(project, f"{TEAM}/store")
    return dict(json.loads(json.dumps(found)))  # as it is after it was kept


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What is not as expected, each by its name."""
    named: list[str] = []
    for name, value in expected.items():
        rows = [_rows(value), _rows(found[name])]
        named += [f"{name}: {row}" for row in sorted(rows[0] ^ rows[1])]
    return named


def _rows(value: Any) -> set[str]:
    if isinstance(value, str):
        return set(value.splitlines())
    return {str(row) for row in (value.items() if isinstance(value, dict) else value)}


def hashes(project: Project, *tops: str) -> dict[str, str]:
    """Of every file at or below these, but for Git's and what is by chance."""
    files = (
        path
        for top in tops
        for path in (project.root / top, *sorted((project.root / top).rglob("*")))
        if path.is_file() and path.name not in BY_CHANCE
    )
    names = {str(path.relative_to(project.root)): path for path in files}
    return {
        name: hashlib.md5(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not name.startswith((".git/", ".dvc/tmp/")) or name.startswith(TEAM)
    }


def _branch(project: Project) -> str:
    return project.run("git", "branch", "--show-current")


def half_written(project: Project, whole: dict[str, str]) -> list[str]:
    """Outs that are there and are not what they should be; temporary names count."""
    now = hashes(project, "artifacts", "data")
    other = (name for name, md5 in now.items() if whole.get(name, md5) != md5)
    return [*other, *(name for name in now if name.endswith(".partial"))]


# ---- the copies ----


@dataclass(frozen=True)
class Undisturbed:
    """A command as it goes when nobody is in its way."""

    seconds: float
    results: dict[str, Any]


class Stand:
    """Copies of one project, each ready for a command.

    root: of these copies. shared: what is dear to make, once for all processes of pytest.
    """

    def __init__(self, root: Path, shared: Path) -> None:
        self.root, self.shared = root, shared
        self.undisturbed = cache(self._undisturbed)

    def ready(self, command: str, name: str) -> Project:
        return self._prepared(COMMANDS[command]).copy(self.root / name)

    def _prepared(self, prepare: Callable[[Project], None]) -> Project:
        """The project as this leaves it."""
        project = Project(self.shared / prepare.__name__, SHELL="/bin/sh")
        done = project.root.with_suffix(".done")
        with self._alone(prepare.__name__):
            if not done.exists():
                shutil.rmtree(project.root, ignore_errors=True)
                if prepare is not built:
                    self._prepared(built).copy(project.root)
                prepare(project)
                done.touch()
        return project

    def _undisturbed(self, command: str, order: tuple[str, ...] = ()) -> Undisturbed:
        """order: what runs where the command might: it is one of them, the results are its."""
        name = " then ".join(order) or command
        kept = self.shared / f"{name}.json"
        with self._alone(name):
            if not kept.exists():
                project = self.ready(command, "undisturbed")
                began = time.monotonic()
                for each in order or (command,):
                    project.imagetrail(*each.split())
                seconds = time.monotonic() - began
                found = Undisturbed(seconds, results(project, command))
                kept.write_text(json.dumps(asdict(found)))
                shutil.rmtree(project.root)
            return Undisturbed(**json.loads(kept.read_text()))

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        with (self.shared / f"{what}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
