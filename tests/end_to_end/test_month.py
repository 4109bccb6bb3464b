"""A month of a team against real servers: PostgreSQL, MLflow with passwords, S3, Git, DVC on S3."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import services
from mlflow import MlflowClient  # noqa: TID251  tests look at what users see
from project import Project
from services import Servers
from team import World

from imagetrail.base import pipeline
from imagetrail.release import ledger

CHEAP = {
    "audit": {"folds": 2, "epochs": 4},
    "gate": {"margin": 0.25, "max_ece": None, "max_robustness_loss": None},
    "train": {"epochs": 8},
}
DAMAGE = ("Traceback", "Error: ", "error: ")


class Month(World):
    """Requests of all machines are at one place, as GitHub is."""

    def __init__(self, root: Path, servers: Servers) -> None:
        super().__init__(
            root,
            origin=servers.git.address("origin.git"),
            store=f"s3://{servers.bucket.name}/dvc",
            **servers.for_team,
        )
        self.servers, self.versions = servers, set[str]()
        self.team.dvc("remote", "modify", "--quiet", "store", "endpointurl", servers.bucket.address)
        self.team.set(**CHEAP)

    def requests(self, runner: Project) -> Path:
        return self.root / "gh.log"

    def proposals(self) -> int:
        """How many are open."""
        return int((self.root / "gh.log.open").exists())

    def merge(self) -> None:
        super().merge()
        (self.root / "gh.log.open").unlink()

    def retrained(self) -> tuple[Project, str]:
        """A machine after a retraining of the main branch, and all that it printed."""
        runner = self.checkout()
        said = self.retrain(runner)
        assert "Traceback" not in said
        self.versions.add(pipeline.version(pipeline.lock(runner.root)))
        return runner, said


def page(runner: Project) -> str:
    """What a reviewer reads."""
    return (runner.root / ".imagetrail/proposal.md").read_text()


def decision(runner: Project) -> Any:
    return runner.json("gate/decision.json")
