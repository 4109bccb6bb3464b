"""The retraining workflow's own steps against local remotes: Git, DVC and an MLflow server."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import mlflow_store
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_onnx
import yaml
from mlflow import MlflowClient  # noqa: TID251  tests look at what users see
from PIL import Image
from project import ROOT, Project
from sklearn.datasets import load_digits

from imagetrail.base import hashing, paths
from imagetrail.release import git_dvc, ledger, pull_request

WORKFLOW = ROOT / ".github/workflows/retrain.yml"
FILES = (
    *(
        ".dvcignore",
        ".gitignore",
        "Makefile",
        "pipeline.mk",
        "dvc.yaml",
        "requirements.lock",
        "requirements.cuda.lock",
        "pyproject.toml",
    ),
    *("src", "champion/README.md", "data/corrections.csv", "data/schema.json"),
    "data/weights/README.md",
)
SMALL = {
    "data": {"name": "pictures", "source": "own", "path": "pictures", "image_size": 8},
    "audit": {"folds": 0},
    "augment": {"copies": 0},
    "synthesise": {"per_class": 0},
    "recipe": {"flip": False, "shift": 0, "batch_size": 64, "width": 0.5, "repeat_to": 256},
    "train": {"epochs": 8},
    "tune": {"trials": 1, "batch": 1, "rungs": [1], "images": 100, "space": {"lr": [0.1]}},
    "compare": {
        "seeds": 3,
        "remedies": {"epochs": 1, "images": 100, "tried": {}},
        "sets": {
            "activations": {
                "epochs": 1,
                "images": 100,
                "reference": "relu",
                "arms": {"relu": {}, "tanh": {"activation": "tanh"}},
            }
        },
    },
    "evaluate": {"bootstrap": 100},
    "explain": {"per_class": 1, "pictures": 8},
    "export": {"calibration": 50},
    "gate": {
        "margin": None,
        "max_ece": None,
        "max_robustness_loss": None,
    },  # few pictures show little
}
GH = """#!/bin/sh
echo "$@" >> "$GH_LOG"
case "$1 $2" in
  "pr list") test -e "$GH_LOG.open" && echo 7 || true;;
  "pr create") touch "$GH_LOG.open";;
esac
"""


class World:
    """A team's remotes, and a runner that checks out and runs the steps."""

    def __init__(self, root: Path, server: str) -> None:
        self.root, self.runs = root, 0
        tools = root / "bin"
        tools.mkdir()
        (tools / "gh").write_text(GH)
        (tools / "gh").chmod(0o755)
        workflow = yaml.safe_load(WORKFLOW.read_text())["jobs"]["retrain"]
        self.steps = [step for step in workflow["steps"] if "run" in step]
        fixed = {name: value for name, value in workflow["env"].items() if "${{" not in str(value)}
        venv = Path(sys.executable).parent
        self.environment = fixed | {
            "PATH": f"{tools}{os.pathsep}{venv}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_TRACKING_URI": server,
            "IMAGETRAIL_WORKERS": "1",
            "PICTURES_URL": "https://example.org/{commit}/{file}",
            "MAKEFLAGS": f"STAMP= BIN={venv}",  # what `make setup` installs is here already
        }
        self.team = Project(root / "team", **self.environment)
        self.team.init()
        self.team.take(*FILES)
        self.team.set(**SMALL)
        self.origin = str(root / "origin.git")
        self.team.run("git", "init", "--quiet", "--bare", "--initial-branch=main", self.origin)
        self.team.run("git", "remote", "add", "origin", self.origin)
        self.team.dvc("remote", "add", "--quiet", "--default", "store", str(root / "store"))
        self._begin_with_a_poor_champion()

    def _begin_with_a_poor_champion(self) -> None:
        folder = self.team.root / paths.CHAMPION_FOLDER
        model = tiny_onnx.write(
            folder / "model.onnx", tiny_onnx.noise([str(digit) for digit in range(10)])
        )
        (folder / "metrics.json").write_text('{"top1": 0.1, "top1_low": 0.08, "top1_high": 0.13}')
        pq.write_table(pa.table({"id": pa.array([], pa.string())}), folder / "trained_on.parquet")
        self.team.dvc("add", "--quiet", str(paths.CHAMPION_FOLDER))
        self.team.dvc("push", "--quiet")
        facts = {
            "model": hashing.sha256(model),
            "data": "",
            "decision": "",
            "reason": "to begin with",
        }
        champion = ledger.tracked(self.team.root)
        ledger.append(self.team.root, action="promote", champion=champion, **facts)

    def change_data(self, count: int, *, shuffled: bool = False) -> None:
        """Versions and pushes `count` training pictures of the team: what starts the workflow."""
        digits = load_digits()
        labels = digits.target.copy()
        if shuffled:
            np.random.default_rng(0).shuffle(labels[:1300])
        pictures = self.team.root / "pictures"
        shutil.rmtree(pictures, ignore_errors=True)
        for side, numbers in (("train", range(count)), ("test", range(1300, 1797))):
            for number in numbers:
                file = pictures / side / str(labels[number]) / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((digits.images[number] * 15.9).astype(np.uint8)).save(file)
        self.team.dvc("add", "--quiet", "pictures")
        self.team.dvc("push", "--quiet", "pictures")
        self.team.commit("Other pictures")
        self.team.run("git", "push", "--quiet", "origin", "main")

    def checkout(self) -> Project:
        self.runs += 1
        runner = Project(self.root / f"runner{self.runs}", **self.environment)
        self.team.run("git", "clone", "--quiet", self.origin, str(runner.root))
        return runner

    def retrain(self, runner: Project) -> str:
        """Runs the steps and returns all that they print."""
        more = {
            "GITHUB_STEP_SUMMARY": str(runner.root / ".imagetrail/summary.md"),
            "GH_LOG": str(runner.root / ".imagetrail/gh.log"),
        }
        return "".join(runner.run("bash", "-e", "-c", step["run"], **more) for step in self.steps)

    def merge(self) -> None:
        self.team.run("git", "pull", "--quiet", "--ff-only", "origin", "retrain")
        self.team.run("git", "push", "--quiet", "origin", "main")

    def tip(self, branch: str) -> str:
        return self.team.run("git", "ls-remote", self.origin, f"refs/heads/{branch}")[:40]


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
    world = World(tmp_path, server)
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
    assert champion(server) == new.model


def test_without_the_right_to_push_the_summary_is_all_there_is(tmp_path: Path) -> None:
    project = Project(tmp_path, MAKEFLAGS="STAMP=")
    project.run("git", "init", "--quiet", "--initial-branch=retrain")
    project.run("git", "remote", "add", "origin", str(tmp_path / "nowhere"))
    project.take("Makefile", "pipeline.mk")
    for step, words in (("offer", "no right to push"), ("request", "nothing to request")):
        assert words in project.run("make", step)


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
    git("commit", "--quiet", "--allow-empty", "--message", "no other results")
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
