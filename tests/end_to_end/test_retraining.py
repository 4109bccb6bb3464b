"""The retraining workflow's own steps, read from its YAML, against local remotes: Git, DVC and an MLflow server."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_onnx
import yaml
from mlflow import MlflowClient  # noqa: TID251  tests look at what users see
from PIL import Image
from sklearn.datasets import load_digits

from imagetrail.base import hashing, paths
from imagetrail.release import git_dvc, ledger, pull_request

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/retrain.yml"
SMALL = {
    "data": {"name": "folder", "path": "pictures", "image_size": 8},
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
    "explain": {"per_class": 1},
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
        path = f"{tools}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        workflow = yaml.safe_load(WORKFLOW.read_text())["jobs"]["retrain"]
        self.steps = [step for step in workflow["steps"] if "run" in step]
        fixed = {name: value for name, value in workflow["env"].items() if "${{" not in str(value)}
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "GIT_"))
        }
        self.environment = inherited | fixed | {
            "PATH": path,
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_TRACKING_URI": server,
            "IMAGETRAIL_WORKERS": "1",
            "PICTURES_URL": "https://example.org/{commit}/{file}",
            "MAKEFLAGS": f"STAMP= BIN={Path(sys.executable).parent}",  # what `make setup` installs is here already
        }  # fmt: skip
        self.team = root / "team"
        self.team.mkdir()
        for name in (
            ".dvcignore",
            ".gitignore",
            "Makefile",
            "dvc.yaml",
            "params.yaml",
            "requirements.lock",
            "pyproject.toml",
        ):
            shutil.copy(ROOT / name, self.team / name)
        shutil.copytree(
            ROOT / "src",
            self.team / "src",
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
        for kept in ("champion/README.md", "data/weights/README.md"):
            (self.team / kept).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / kept, self.team / kept)
        params = yaml.safe_load((self.team / "params.yaml").read_text())
        for section, values in SMALL.items():
            params[section] |= values
        (self.team / "params.yaml").write_text(yaml.safe_dump(params))
        self.do(
            "git",
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=main",
            str(root / "origin.git"),
            at=root,
        )
        self.do("git", "init", "--quiet", "--initial-branch=main")
        self.do("git", "remote", "add", "origin", str(root / "origin.git"))
        self.do("dvc", "init", "--quiet")
        self.do("dvc", "remote", "add", "--quiet", "--default", "store", str(root / "store"))
        self._begin_with_a_poor_champion()

    def _begin_with_a_poor_champion(self) -> None:
        folder = self.team / paths.CHAMPION_FOLDER
        model = tiny_onnx.write(
            folder / "model.onnx", tiny_onnx.noise([str(digit) for digit in range(10)])
        )
        (folder / "metrics.json").write_text('{"top1": 0.1, "top1_low": 0.08, "top1_high": 0.13}')
        pq.write_table(pa.table({"id": pa.array([], pa.string())}), folder / "trained_on.parquet")
        self.do("dvc", "add", "--quiet", str(paths.CHAMPION_FOLDER))
        self.do("dvc", "push", "--quiet")
        facts = {
            "model": hashing.sha256(model),
            "data": "",
            "decision": "",
            "reason": "to begin with",
        }
        ledger.append(self.team, action="promote", champion=ledger.tracked(self.team), **facts)

    def do(self, *command: str, at: Path | None = None, **more: str) -> str:
        done = subprocess.run(
            command,
            cwd=at or self.team,
            env=self.environment | more,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def change_data(self, count: int, *, shuffled: bool = False) -> None:
        """Puts `count` training pictures into the team's folder, versions them and pushes: what starts the workflow."""
        digits = load_digits()
        labels = digits.target.copy()
        if shuffled:
            np.random.default_rng(0).shuffle(labels[:1300])
        shutil.rmtree(self.team / "pictures", ignore_errors=True)
        for side, numbers in (("train", range(count)), ("test", range(1300, 1797))):
            for number in numbers:
                file = self.team / "pictures" / side / str(labels[number]) / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((digits.images[number] * 15.9).astype(np.uint8)).save(file)
        self.do("dvc", "add", "--quiet", "pictures")
        self.do("dvc", "push", "--quiet", "pictures")
        self.push("Other pictures")

    def push(self, message: str) -> None:
        self.do("git", "add", "--all")
        self.do("git", "commit", "--quiet", "--message", message)
        self.do("git", "push", "--quiet", "origin", "main")

    def checkout(self) -> Path:
        self.runs += 1
        runner = self.root / f"runner{self.runs}"
        self.do("git", "clone", "--quiet", str(self.root / "origin.git"), str(runner), at=self.root)
        return runner

    def retrain(self, runner: Path) -> str:
        """Runs the steps and returns all that they said."""
        more = {
            "GITHUB_STEP_SUMMARY": str(runner / ".imagetrail/summary.md"),
            "GH_LOG": str(runner / ".imagetrail/gh.log"),
        }
        return "".join(
            self.do("bash", "-e", "-c", step["run"], at=runner, **more) for step in self.steps
        )

    def merge(self) -> None:
        self.do("git", "pull", "--quiet", "--ff-only", "origin", "retrain")
        self.do("git", "push", "--quiet", "origin", "main")

    def tip(self, branch: str) -> str:
        return self.do("git", "ls-remote", str(self.root / "origin.git"), f"refs/heads/{branch}")[
            :40
        ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server on sqlite, which is starting."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")
    }
    environment |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def wait_for(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1)
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the MLflow server does not start")


def decision(runner: Path) -> str:
    return str(json.loads((runner / "artifacts/gate/decision.json").read_text())["decision"])


def champion(server: str) -> Any:
    return (
        MlflowClient(server)
        .get_model_version_by_alias("folder", "champion")
        .tags["imagetrail.content"]
    )


def test_what_is_better_is_offered_what_is_worse_is_not_and_nothing_new_does_nothing(
    tmp_path: Path, server: str, record_property: Callable[[str, object], None]
) -> None:
    world = World(tmp_path, server)
    world.change_data(1300, shuffled=True)
    worse = world.checkout()
    shuffled = git_dvc.head(worse)
    world.change_data(1300)
    better = world.checkout()
    wait_for(server)
    with ThreadPoolExecutor() as both:
        promoted = both.submit(world.retrain, better)
        told = world.retrain(worse)
        later = world.checkout()
        world.do("git", "reset", "--quiet", "--hard", shuffled, at=later)
        next_week = world.retrain(later)
        said = promoted.result()

    assert (
        decision(worse) == "REJECT"
        and "nothing is changed" in told
        and "nothing to request" in told
    )
    assert "REJECT: " in next_week and "Running stage" not in next_week, (
        next_week
    )  # it is not trained again
    assert (
        "REJECT: " in (worse / ".imagetrail/summary.md").read_text()
        and not (worse / ".imagetrail/gh.log").exists()
    )
    assert len(ledger.read(worse)) == 1 and "* main" in world.do("git", "branch", at=worse)

    assert decision(better) == "PROMOTE" and "with the new champion" in said, said
    assert (better / ".imagetrail/gh.log").read_text().count("pr create --head retrain") == 1
    body = (better / ".imagetrail/summary.md").read_text()
    assert (
        body.startswith("PROMOTE: ")
        and "PROMOTE" in (better / "artifacts/report/report.md").read_text().splitlines()[0]
    )
    assert (
        "| top1 | 0.1000 (0.0800 – 0.1300) | 0.9" in body
        and "](https://example.org/" in body
        and "Cost: " in body
    )
    assert len(body) < 65_536
    assert world.tip("retrain") == git_dvc.head(better) and world.tip("retrain-pictures")
    changed = set(world.do("git", "diff", "--name-only", "origin/main", "HEAD", at=better).split())
    assert {
        "dvc.lock",
        "champion/model.dvc",
        "champion/ledger.jsonl",
        "artifacts/evaluate/metrics.json",
    } <= changed
    assert not [
        path for path in changed if not path.startswith(("dvc.lock", "artifacts/", "champion/"))
    ]
    begun, new = ledger.read(better)
    assert new.who.startswith("github-actions[bot]") and new.commit == git_dvc.git(
        better, "rev-parse", "HEAD~1"
    )
    assert champion(server) == begun.model  # until it is merged

    assert "pulls/7" in world.do(
        "sh",
        "-c",
        "make request && cat $GH_LOG",
        at=better,
        GH_LOG=str(better / ".imagetrail/gh.log"),
    )

    world.merge()
    before = world.tip("main"), world.tip("retrain"), world.tip("retrain-pictures")
    again, start = world.checkout(), time.monotonic()
    said = world.retrain(again)
    record_property("retraining", f"{time.monotonic() - start:.0f} s where there is nothing new")
    assert "nothing to do" in said and "Running stage" not in said and "nothing to offer" in said
    assert (world.tip("main"), world.tip("retrain"), world.tip("retrain-pictures")) == before
    assert champion(server) == new.model


def test_without_the_right_to_push_the_summary_is_all_there_is(tmp_path: Path) -> None:
    for words in (
        ["init", "--quiet", "--initial-branch=retrain"],
        ["remote", "add", "origin", str(tmp_path / "nowhere")],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    environment = os.environ | {"MAKEFLAGS": "STAMP="}
    for step, words in (("offer", "no right to push"), ("request", "nothing to request")):
        done = subprocess.run(
            ["make", step], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0 and words in done.stdout, done.stderr


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
    def git(*words: str, **when: str) -> None:
        subprocess.run(
            ["git", *words], cwd=tmp_path, check=True, capture_output=True, env=os.environ | when
        )

    def commit(branch: str, results: str, minute: int) -> None:
        git("checkout", "--quiet", "-B", branch, "main" if branch == "main" else "origin/main")
        (tmp_path / "artifacts").mkdir(exist_ok=True)
        for name in ("dvc.lock", "artifacts/metrics.json"):
            (tmp_path / name).write_text(results)
        git("add", "--all")
        git(
            "commit",
            "--quiet",
            "--message",
            results,
            GIT_COMMITTER_DATE=f"2026-01-01T00:{minute}:00Z",
        )
        git("update-ref", f"refs/remotes/origin/{branch}", "HEAD")

    git("init", "--quiet", "--initial-branch=main")
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
