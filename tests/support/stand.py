"""Copies of a project on which faults are made, and all that must come out nevertheless.

How many faults there are, and from which seed, say FAULTS and SEED.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tiny_project
from mlflow_store import said_of
from project import Project

from imagetrail.base import pipeline
from imagetrail.cli.main import STAGES
from imagetrail.release import ledger, verification

# What has a time, a commit or the number of a run in it.
BY_CHANCE = ("timing.json", "SOURCE.json", "origin.json", "run.js")
FAULTS, SEED = int(os.environ.get("FAULTS", "0")), os.environ.get("SEED", "0")


def nothing(_: Project) -> None:
    """The project as it is."""


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


COMMANDS: dict[str, Callable[[Project], None]] = {  # and what comes before
    **{f"repro --force --single-item {stage}": nothing for stage in STAGES},
    "repro": without_results,
    "publish": without_mlflow,
    "promote": nothing,
    "rollback 1": promoted,
    "propose": uncommitted,
    "verify": nothing,
    "schema": nothing,
    "doctor": nothing,
}


@dataclass(frozen=True)
class Undisturbed:
    """A command as it goes when nobody is in its way."""

    seconds: float
    results: dict[str, Any]


class Stand:
    """Copies of one project, each ready for a command."""

    def __init__(self, root: Path) -> None:
        self.root, self.made = root, tiny_project.build(root / "tiny")
        self.undisturbed = cache(self._undisturbed)

    def ready(self, command: str, name: str) -> Project:
        project = self.made.copy(self.root / name)
        COMMANDS[command](project)
        return project

    def _undisturbed(self, command: str) -> Undisturbed:
        project = self.ready(command, "undisturbed")
        began = time.monotonic()
        project.imagetrail(*command.split())
        seconds = time.monotonic() - began
        found = Undisturbed(seconds, results(project, command))
        shutil.rmtree(project.root)
        return found


def results(project: Project, command: str) -> dict[str, Any]:
    """All that a command decides, and nothing that a clock does."""
    root = project.root
    locked = pipeline.lock(root)
    found: dict[str, Any] = {
        "lock": {name: pipeline.results(entry) for name, entry in locked.items()},
        "files": {
            str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest()
            for top in ("artifacts", "data", "champion/model")
            for path in sorted((root / top).rglob("*"))
            if path.is_file() and path.name not in BY_CHANCE
        },
        "ledger": [(line.number, line.action, line.model) for line in ledger.read(root)],
        "verify": [str(finding) for finding in verification.verify(root, root / ".dvc/cache")],
        "branch": project.run("git", "branch", "--show-current"),
        "tracked": project.run("git", "ls-files"),
        "changed": project.run("git", "status", "--porcelain", "--untracked-files=no"),
    }
    if command == "publish":
        found["mlflow"] = said_of(project.client())
    return found


def half_written(project: Project, whole: dict[str, str]) -> list[str]:
    """Outs that are there and are not what they should be; temporary names count."""
    found = []
    for top in ("artifacts", "data"):
        for path in (project.root / top).rglob("*"):
            name = str(path.relative_to(project.root))
            other = name in whole and hashlib.md5(path.read_bytes()).hexdigest() != whole[name]
            if other or path.name.endswith(".partial"):
                found.append(name)
    return found
