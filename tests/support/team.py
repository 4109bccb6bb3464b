"""A team with remotes of its own, and machines that run the retraining workflow's own steps."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tiny_onnx
import yaml
from PIL import Image
from project import ROOT, Project
from sklearn.datasets import load_digits

from imagetrail.base import hashing, paths
from imagetrail.release import ledger

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

    def __init__(
        self, root: Path, *, origin: str = "", store: str = "", **environment: str
    ) -> None:
        """origin: an address of `root/origin.git`. store: of DVC's remote. Default: folders."""
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
            "IMAGETRAIL_WORKERS": "1",
            "PICTURES_URL": "https://example.org/{commit}/{file}",
            "MAKEFLAGS": f"STAMP= BIN={venv}",  # what `make setup` installs is here already
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",  # a busy machine is slow, its server not down
        }
        self.environment |= environment
        self.team = Project(root / "team", **self.environment)
        self.team.init()
        self.team.take(*FILES)
        self.team.set(**SMALL)
        bare = str(root / "origin.git")
        self.origin = origin or bare
        self.team.run("git", "init", "--quiet", "--bare", "--initial-branch=main", bare)
        self.team.run("git", "remote", "add", "origin", self.origin)
        self.team.dvc(
            "remote", "add", "--quiet", "--default", "store", store or f"{root / 'store'}"
        )

    def begin_with_a_poor_champion(self) -> None:
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

    def change_data(
        self, count: int, *, shuffled: bool = False, classes: int = 10, wrong: float = 0.0
    ) -> None:
        """Versions and pushes `count` training pictures of the team: what starts the workflow.

        shuffled: whether their labels are. classes: so many of the ten. wrong: this share of all
        labels is another's.
        """
        digits, rng = load_digits(), np.random.default_rng(0)
        labels = digits.target.copy()
        if shuffled:
            rng.shuffle(labels[:1300])
        mistaken = rng.random(len(labels)) < wrong
        labels[mistaken] = (labels[mistaken] + rng.integers(1, 9, mistaken.sum())) % 9
        pictures = self.team.root / "pictures"
        shutil.rmtree(pictures, ignore_errors=True)
        for side, numbers in (("train", range(count)), ("test", range(1300, 1797))):
            for number in numbers:
                if digits.target[number] >= classes:
                    continue
                file = pictures / side / str(labels[number]) / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((digits.images[number] * 15.9).astype(np.uint8)).save(file)
        self.team.dvc("add", "--quiet", "pictures")
        self.team.dvc("push", "--quiet", "pictures")
        self.push("Other pictures")

    def push(self, message: str) -> None:
        """Commits all that the team has changed, and pushes it."""
        self.team.commit(message)
        self.team.run("git", "push", "--quiet", "origin", "main")

    def checkout(self, origin: str = "", **environment: str) -> Project:
        """A machine of CI, with an empty cache; of others: their origin and rights."""
        self.runs += 1
        runner = Project(self.root / f"runner{self.runs}", **self.environment | environment)
        self.team.run("git", "clone", "--quiet", origin or self.origin, str(runner.root))
        return runner

    def retrain(self, runner: Project) -> str:
        """Runs the steps and returns all that they print."""
        return "".join(self.step(runner, step["run"]) for step in self.steps)

    def step(self, runner: Project, command: str, *, ok: bool = True) -> str:
        """Runs one of them, which must succeed or, if not `ok`, fail."""
        more = {
            "GITHUB_STEP_SUMMARY": str(runner.root / ".imagetrail/summary.md"),
            "GH_LOG": str(self.requests(runner)),
        }
        return runner.run("bash", "-e", "-c", command, ok=ok, **more)

    def requests(self, runner: Project) -> Path:
        """What GitHub's client was asked for."""
        return runner.root / ".imagetrail/gh.log"

    def merge(self) -> None:
        self.team.run("git", "pull", "--quiet", "--ff-only", "origin", "retrain")
        self.team.run("git", "push", "--quiet", "origin", "main")

    def tip(self, branch: str) -> str:
        return self.team.run("git", "ls-remote", self.origin, f"refs/heads/{branch}")[:40]
