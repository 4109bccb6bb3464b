"""A month of a team against real servers: PostgreSQL, MLflow with passwords, S3, Git, DVC on S3."""

import re
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow_store
import pytest
import services
from project import Project
from services import Servers
from team import World

from imagetrail.base import paths
from imagetrail.release import git_dvc, ledger
from imagetrail.release.ledger import Entry
from imagetrail.release.pull_request import BRANCH

SMALL = {
    "audit": {"folds": 2, "epochs": 4},
    "gate": {"margin": 0.25, "max_ece": None, "max_robustness_loss": None},
}
LEARNED = "Running stage 'train'"


class Month(World):
    """Its machines have the team's rights; requests of all are at one place, as on GitHub."""

    def __init__(self, root: Path, servers: Servers) -> None:
        store, origin = f"s3://{servers.bucket.name}/dvc", servers.git.address("origin.git")
        super().__init__(root, origin=origin, store=store, **servers.for_team)
        self.servers, self.merged = servers, 0
        self.published: set[str] = set()  # versions of results
        endpoint = servers.bucket.address
        self.team.dvc("remote", "modify", "--quiet", "store", "endpointurl", endpoint)
        self.team.set(**SMALL)

    def requests(self, _: Project) -> Path:
        return self.root / "gh.log"

    def proposals(self) -> int:
        """How many are open."""
        return self.requests(self.team).read_text().count("pr create") - self.merged

    def step(self, runner: Project, command: str, *, ok: bool = True) -> str:
        said = super().step(runner, command, ok=ok)
        assert "Traceback" not in said
        self.published |= set(re.findall(r"pipeline (\w{7}) is in MLflow", said))
        return said

    def retrained(self) -> tuple[Project, str]:
        """A machine with an empty cache, after the steps of CI, and all that they printed."""
        machine = self.checkout()
        return machine, self.retrain(machine)

    def merge(self) -> None:
        """Merges the one proposal: lines are added to the ledger, and none is lost."""
        assert self.proposals() == 1
        before = self.ledger()
        super().merge()
        self._close()
        assert self.ledger()[: len(before)] == before

    def close(self) -> None:
        """Closes the one proposal without merging it."""
        assert self.proposals() == 1
        self.team.run("git", "push", "--quiet", "origin", "--delete", BRANCH)
        self._close()

    def _close(self) -> None:
        self.requests(self.team).with_suffix(".log.open").unlink()
        self.merged += 1

    def ledger(self) -> list[Entry]:
        """That of the main branch."""
        return ledger.read(self.team.root)

    def champion(self) -> str:
        """The model that MLflow's alias is at."""
        client = self.team.client(self.servers.mlflow.runs)
        found = client.get_model_version_by_alias("pictures", "champion")
        return str(found.tags["imagetrail.content"])


def page(machine: Project) -> str:
    """What a reviewer reads."""
    return (machine.root / ".imagetrail/proposal.md").read_text()


def verdict(machine: Project) -> str:
    return str(machine.json("gate/decision.json")["decision"])


def faults(said: str) -> list[str]:
    """The lines that name one."""
    return [line for line in said.splitlines() if line.startswith(("error: ", "ERROR: "))]


@pytest.fixture
def month(tmp_path: Path) -> Iterator[Month]:
    (tmp_path / "servers").mkdir()
    with services.serving(tmp_path / "servers", git=tmp_path) as servers:
        yield Month(tmp_path, servers)


def a_first_model(month: Month) -> None:
    month.change_data(250, classes=9)
    machine, said = month.retrained()
    assert verdict(machine) == "PROMOTE" and "with the new champion" in said
    assert "there is no champion yet" in page(machine) and "| top1 | – | 0." in page(machine)
    month.merge()
    assert [entry.number for entry in month.ledger()] == [1]


def new_pictures_and_a_proposal_left_open_while_main_moves_on(month: Month) -> None:
    (first,) = month.ledger()
    month.team.dvc("pull", "--quiet", str(paths.INSPECTION))
    month.team.imagetrail("schema")
    month.change_data(1300, classes=9)
    machine, said = month.retrained()
    assert LEARNED in said and verdict(machine) == "PROMOTE"
    assert "compared with the champion, image by image" in page(machine)
    assert "Other pictures (" in page(machine)
    assert month.champion() == first.model, "it is not merged"
    (month.team.root / "NOTES.md").write_text("Main moves on.\n")
    month.push("Notes")
    again, said = month.retrained()
    assert LEARNED not in said and verdict(again) == "PROMOTE"
    assert page(again).startswith("PROMOTE: ") and "Notes (" in page(again)
    month.merge()
    assert (month.team.root / "NOTES.md").exists() and len(month.ledger()) == 2


def nothing_new(month: Month) -> str:
    before = [month.tip(branch) for branch in ("main", BRANCH)]
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    _, said = month.retrained()
    seconds = time.monotonic() - start
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    assert "Running stage" not in said and "nothing to do" in said
    assert [month.tip(branch) for branch in ("main", BRANCH)] == before
    assert month.proposals() == 0 and month.champion() == month.ledger()[-1].model
    assert cpu < 30, "it is what an idle machine takes"
    return f"{seconds:.0f} s, {cpu:.0f} s of them computing"


def labels_of_which_30_in_100_are_wrong(month: Month) -> None:
    champion, lines = month.champion(), len(month.ledger())
    month.change_data(1300, classes=9, wrong=0.3)
    machine, _ = month.retrained()
    assert verdict(machine) in ("HOLD", "REJECT")
    assert month.champion() == champion and len(ledger.read(machine.root)) == lines
    (found,) = re.findall(r"(\d+) of 1,617 labels are likely wrong", page(machine))
    assert int(found) > 300 and "Other pictures (" in page(machine)
    if verdict(machine) == "HOLD":
        month.close()
    assert month.proposals() == 0
    month.team.run("git", "revert", "--no-edit", "HEAD")
    month.team.run("git", "push", "--quiet", "origin", "main")


def a_new_class(month: Month) -> None:
    month.change_data(1300)
    machine = month.checkout()
    said = month.step(machine, "make retrain", ok=False)
    assert "new_classes" in said and "imagetrail schema" in said
    machine.imagetrail("schema")
    shutil.copy(machine.root / paths.SCHEMA, month.team.root / paths.SCHEMA)
    month.push("A tenth class")
    machine, _ = month.retrained()
    assert verdict(machine) == "PROMOTE"
    assert "only the challenger knows 9" in page(machine)
    month.merge()
    assert len(month.ledger()) == 3


def two_pushes_at_once(month: Month) -> None:
    month.team.set(evaluate={"bootstrap": 110})
    month.push("More draws")
    older = month.checkout()
    month.team.set(evaluate={"bootstrap": 120})
    month.push("Still more")
    newer = month.checkout()
    with ThreadPoolExecutor() as both:
        list(both.map(month.retrain, (older, newer)))
    assert month.tip(BRANCH) == git_dvc.head(newer.root)
    assert "nothing to offer" in month.step(older, "make offer")
    month.merge()


def a_rollback(month: Month) -> None:
    *_, wanted, last = month.ledger()
    month.team.dvc("fetch", "--quiet", "--all-commits")
    month.team.imagetrail("rollback")
    assert month.champion() == wanted.model
    month.push("Rollback")
    machine, _ = month.retrained()
    assert verdict(machine) == "HOLD" and f"as number {last.number}" in page(machine)
    month.merge()
    assert [entry.model for entry in month.ledger()][-1] == month.champion() == wanted.model


def servers_that_are_down_one_at_a_time(month: Month) -> None:
    servers = month.servers
    month.team.set(evaluate={"bootstrap": 130})
    month.push("Other draws")
    machine = month.checkout()

    def told(server: services.Server, command: str, *, ok: bool = False) -> str:
        """The one line that names the fault while the server is down."""
        server.stop()
        try:
            said = month.step(machine, command, ok=ok)
        finally:
            server.start()
        (line,) = faults(said)
        return line

    assert "`dvc pull" in told(servers.bucket, "make retrain")
    assert "MLflow at" in told(servers.postgresql, "make retrain", ok=True)
    assert "out of reach" in told(servers.git, "make offer")
    assert "`dvc push" in told(servers.bucket, "make offer")
    assert month.proposals() == 0
    month.retrain(machine)
    assert month.tip(BRANCH) == git_dvc.head(machine.root)
    assert "Other draws (" in page(machine)
    month.merge()


def a_fork_without_rights(month: Month) -> None:
    servers = month.servers
    fork = month.checkout(servers.readable.address("origin.git"), **servers.for_others)
    (line,) = faults(month.step(fork, "make retrain", ok=False))
    assert "Forbidden" in line
    fork.dvc("pull", "--quiet", **servers.for_team)  # somebody hands the pictures over
    fork.set(evaluate={"bootstrap": 140})
    fork.commit("A fork's")
    fork.dvc("remote", "remove", "store")
    fork.run("git", "commit", "--quiet", "--all", "--message", "Without a remote")
    runs = len(mlflow_store.runs(month.team.client(servers.mlflow.runs)))
    (line,) = faults(month.step(fork, "make retrain"))
    assert "403" in line or "Permission denied" in line
    said = month.step(fork, "make offer")
    assert "no right to push" in said and not faults(said)
    assert "nothing to request" in month.step(fork, "make request")
    assert len(mlflow_store.runs(month.team.client(servers.mlflow.runs))) == runs


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_month_of_a_team_loses_nothing_and_offers_what_is_right(
    month: Month, record_property: Callable[[str, object], None]
) -> None:
    a_first_model(month)
    new_pictures_and_a_proposal_left_open_while_main_moves_on(month)
    record_property("nothing new", nothing_new(month))
    labels_of_which_30_in_100_are_wrong(month)
    nothing_new(month)
    a_new_class(month)
    two_pushes_at_once(month)
    a_rollback(month)
    servers_that_are_down_one_at_a_time(month)
    a_fork_without_rights(month)

    actions = [entry.action for entry in month.ledger()]
    assert actions == ["promote", "promote", "promote", "rollback"]
    runs = mlflow_store.runs(month.team.client(month.servers.mlflow.runs))
    assert not [run for run in runs if run.info.status == "RUNNING"]
    versions = [run.data.tags.get("imagetrail.version", "")[:7] for run in runs]
    assert all(versions.count(version) == 1 for version in month.published)
