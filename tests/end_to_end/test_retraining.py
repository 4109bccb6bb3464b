"""The retraining workflow's own steps against local remotes: Git, DVC and an MLflow server."""

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import mlflow_store
import pytest
import yaml
from mlflow import MlflowClient  # noqa: TID251  tests look at what users see
from project import Project
from team import WORKFLOW, World

from imagetrail.release import git_dvc, ledger, pull_request


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server."""
    with mlflow_store.server(tmp_path_factory.mktemp("mlflow")) as (address, _):
        yield address


def decision(runner: Project) -> str:
    return str(runner.json("gate/decision.json")["decision"])


def champion(server: str) -> Any:
    return (
        MlflowClient(server)
        .get_model_version_by_alias("pictures", "champion")
        .tags["imagetrail.content"]
    )


@pytest.mark.slow
def test_what_is_better_is_offered_what_is_worse_is_not_and_nothing_new_does_nothing(
    tmp_path: Path, server: str, record_property: Callable[[str, object], None]
) -> None:
    world = World(tmp_path, MLFLOW_TRACKING_URI=server)
    world.begin_with_a_poor_champion()
    world.change_data(1300, shuffled=True)
    worse = world.checkout()
    shuffled = git_dvc.head(worse.root)
    world.change_data(1300)
    better = world.checkout()
    with ThreadPoolExecutor() as both:
        promoted = both.submit(world.retrain, better)
        rejected = world.retrain(worse)
        later = world.checkout()
        later.run("git", "reset", "--quiet", "--hard", shuffled)
        next_week = world.retrain(later)
        offered = promoted.result()

    assert decision(worse) == "REJECT"
    assert "nothing is changed" in rejected and "nothing to request" in rejected
    assert "REJECT: " in next_week
    assert "Running stage" not in next_week, "it is not trained again"
    assert "REJECT: " in (worse.root / ".imagetrail/summary.md").read_text()
    assert not (worse.root / ".imagetrail/gh.log").exists()
    assert len(ledger.read(worse.root)) == 1 and "* main" in worse.run("git", "branch")

    assert decision(better) == "PROMOTE" and "with the new champion" in offered, offered
    assert (better.root / ".imagetrail/gh.log").read_text().count("pr create --head retrain") == 1
    body = (better.root / ".imagetrail/summary.md").read_text()
    report = (better.root / "artifacts/report/report.md").read_text()
    assert body.startswith("PROMOTE: ") and "PROMOTE" in report.splitlines()[0]
    assert "| top1 | 0.1000 (0.0800 – 0.1300) | 0.9" in body
    assert "](https://example.org/" in body and "Cost: " in body
    assert len(body) < 65_536
    assert world.tip("retrain") == git_dvc.head(better.root) and world.tip("retrain-pictures")
    changed = set(better.run("git", "diff", "--name-only", "origin/main", "HEAD").split())
    assert {
        "dvc.lock",
        "champion/model.dvc",
        "champion/ledger.jsonl",
        "artifacts/evaluate/metrics.json",
    } <= changed
    assert not [
        path
        for path in changed
        if not path.startswith(("dvc.lock", "artifacts/", "champion/", "data/project.json"))
    ]
    begun, new = ledger.read(better.root)
    assert new.who.startswith("github-actions[bot]") and new.commit == git_dvc.git(
        better.root, "rev-parse", "HEAD~1"
    )
    assert champion(server) == begun.model  # until it is merged

    log = str(better.root / ".imagetrail/gh.log")
    assert "pulls/7" in better.run("sh", "-c", "make request && cat $GH_LOG", GH_LOG=log)

    world.merge()
    before = world.tip("main"), world.tip("retrain"), world.tip("retrain-pictures")
    again, start = world.checkout(), time.monotonic()
    output = world.retrain(again)
    record_property("retraining", f"{time.monotonic() - start:.0f} s where there is nothing new")
    assert "nothing to do" in output and "nothing to offer" in output
    assert "Running stage" not in output
    assert (world.tip("main"), world.tip("retrain"), world.tip("retrain-pictures")) == before
    assert champion(server) == new.model, output


def test_a_remote_that_is_out_of_reach_ends_the_offer_with_one_line(tmp_path: Path) -> None:
    project = Project(tmp_path, MAKEFLAGS=f"STAMP= BIN={Path(sys.executable).parent}")
    project.run("git", "init", "--quiet", "--initial-branch=retrain")
    project.run("git", "remote", "add", "origin", str(tmp_path / "nowhere"))
    project.take("Makefile", "pipeline.mk")
    (tmp_path / "params.yaml").touch()
    said = project.run("make", "offer", ok=False)
    assert said.count("error: git's remote is out of reach") == 1
    assert "nothing to request" in project.run("make", "request")


def test_every_action_is_pinned_by_commit_and_no_token_is_given_to_all_steps() -> None:
    text = WORKFLOW.read_text()
    workflow = yaml.safe_load(text)
    used = [step["uses"] for step in workflow["jobs"]["retrain"]["steps"] if "uses" in step]
    assert used and all(len(action.split("@")[1]) == 40 for action in used)
    assert "pull_request_target" not in text and workflow["permissions"] == {}
    assert "token" not in str(workflow["jobs"]["retrain"]["env"])


def test_the_newest_results_that_no_merge_has_brought_are_recalled_unless_there_have_been_others(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    git = partial(project.run, "git")

    def commit(branch: str, results: str, minute: int) -> None:
        git("checkout", "--quiet", "-B", branch, "main" if branch == "main" else "origin/main")
        (tmp_path / "artifacts").mkdir(exist_ok=True)
        for name in ("dvc.lock", "artifacts/metrics.json"):
            (tmp_path / name).write_text(results)
        git("add", "--all")
        when = f"2026-01-01T00:{minute}:00Z"
        git("commit", "--quiet", "--message", results, GIT_COMMITTER_DATE=when)
        git("update-ref", f"refs/remotes/origin/{branch}", "HEAD")

    project.init()
    git("commit", "--quiet", "--allow-empty", "--message", "none")
    commit("main", "old", 10)
    assert pull_request.recall(tmp_path) == "beginning with the results of the last commit"
    commit("retrain-rejected", "rejected", 11)
    commit("retrain", "held", 12)
    git("checkout", "--quiet", "main")
    assert "last commit" in pull_request.recall(tmp_path), "what it has is what these were made of"
    (tmp_path / "params.yaml").touch()
    git("add", "--all")
    git("commit", "--quiet", "--message", "no other results")
    assert (
        "origin/retrain" in pull_request.recall(tmp_path)
        and (tmp_path / "artifacts/metrics.json").read_text() == "held"
    )
    git("reset", "--quiet", "--hard")
    commit("main", "newer", 13)
    assert (
        "last commit" in pull_request.recall(tmp_path)
        and (tmp_path / "dvc.lock").read_text() == "newer"
    )
