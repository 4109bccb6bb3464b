"""A repository whose stages tune, train and compare write made-up results."""

import subprocess
import sys

from project import Project, wait_for

STAGES = ("tune", "train", "compare")
FILES = {
    "tune": ("trials.csv", "history.csv", "recipe.json"),
    "train": ("history.csv", "recipe.json", "metrics.json"),
    "compare": ("results.csv", "history.csv", "recipes.json", "ranking.json"),
}
RECIPE = ("model", "activation", "lr", "epochs", "flip", "blend")

SCRIPT = """
import os, signal, sys, time
from pathlib import Path

from imagetrail.base.files import write_csv, write_json
from imagetrail.tracking import live, parts

stage, here, started = sys.argv[1], Path("artifacts") / sys.argv[1], time.time()
recipe = {"model": "fast", "activation": "relu", "lr": 0.1, "epochs": 3, "flip": True}
recipe["blend"] = None  # which a training chooses by itself
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as the command line has it
signal.signal(signal.SIGINT, signal.default_int_handler)  # even if the tests run in the background


def curve(height, epochs=3):
    return [
        {
            "epoch": epoch,
            "train_loss": 2 / epoch,
            "valid_loss": 1 / epoch,
            "valid_top1": height - 0.1 / epoch,
            "lr": 0.1,
        }
        for epoch in range(1, epochs + 1)
    ]


def tune(log):
    rows, curves = [], []
    trials = ("relu", 3), ("silu", 1), ("tanh", 3), ("silu", 0)
    for number, (activation, epochs) in enumerate(trials):
        history = curve(0.9 - 0.01 * number, epochs)
        state = {0: "FAIL", 1: "PRUNED", 3: "COMPLETE"}[epochs]
        value = history[-1]["valid_top1"] if history else ""
        row = {"number": number, "state": state, "epochs": epochs, "value": value}
        rows.append(row | {"activation": activation, "lr": 0.1 + number})
        curves += [{"number": number, **row} for row in history]
        now = time.time()
        log.part(parts.trial_part(rows[-1], recipe, history), (now - 2, now - 1))
    write_csv(here / "trials.csv", rows)
    write_csv(here / "history.csv", curves)
    write_json(here / "recipe.json", recipe)


def train(log):
    rows = []
    for row in curve(0.95):
        rows.append(row)
        log.epoch(row)
        if row["epoch"] == 2 and Path("wait").exists():
            Path("waiting").touch()
            while Path("wait").exists():
                time.sleep(0.02)
        if row["epoch"] == 2 and Path("fail").exists():
            raise ValueError("out of luck")
    write_csv(here / "history.csv", rows)
    write_json(here / "recipe.json", recipe | {"blend": 0.5})
    metrics = {"valid_top1": 0.92, "epochs": 3, "parameters": 1000, "flops_forward": 5000}
    write_json(here / "metrics.json", metrics)


def compare(log):
    rows, curves = [], []
    for seed in (0, 1):
        for arm, height in (("relu", 0.9), ("silu", 0.92)):
            history = curve(height + 0.001 * seed)
            run = {"set": "activations", "arm": arm, "seed": seed}
            rows.append({**run, "valid_top1": history[-1]["valid_top1"]})
            curves += [{**run, **row} for row in history]
            log.part(parts.arm_part(rows[-1], recipe | {"activation": arm}, history))
    write_csv(here / "results.csv", rows)
    write_csv(here / "history.csv", curves)
    arms = {arm: recipe | {"activation": arm} for arm in ("relu", "silu")}
    write_json(here / "recipes.json", {"activations": arms})
    arms = [
        {"set": "activations", "arm": arm, "verdict": verdict, "mean": mean, "low": mean - 0.01,
         "high": mean + 0.01, "difference": mean - 0.9, "difference_low": mean - 0.91,
         "difference_high": mean - 0.89}
        for arm, mean, verdict in (("silu", 0.92, "win"), ("relu", 0.9, "reference"))
    ]
    write_json(here / "ranking.json", {"verdict": "silu is better.", "arms": arms})


with live.running(stage, recipe if stage == "train" else {"seed": 0}) as log:
    globals()[stage](log)
write_json(here / "timing.json", {"started": started, "seconds": time.time() - started})
"""


def _described(stage: str) -> str:
    outs = "".join(f"      - artifacts/{stage}/{file}\n" for file in FILES[stage])
    command = f"    cmd: {sys.executable} stage.py {stage}\n"
    return f"  {stage}:\n{command}    deps: [stage.py]\n    params: [seed]\n    outs:\n{outs}"


class Studio(Project):
    def build(self) -> None:
        self.init()
        (self.root / "stage.py").write_text(SCRIPT)
        (self.root / "dvc.yaml").write_text("stages:\n" + "".join(map(_described, STAGES)))
        (self.root / "params.yaml").write_text("seed: 0\ndata: {name: toy}\n")
        (self.root / ".gitignore").write_text("mlflow.db*\nmlartifacts/\n.*.partial\n")

    def repro(self, *words: str, **environment: str) -> str:
        return self.dvc("repro", *words, **environment)

    def publish(self, *, ok: bool = True, **environment: str) -> str:
        return self.imagetrail("publish", ok=ok, **environment)

    def train_until_it_waits(self, **environment: str) -> subprocess.Popen[str]:
        """The stage train, alone, with two of its three epochs done."""
        (self.root / "wait").touch()
        process = self.start(sys.executable, "stage.py", "train", **environment)
        wait_for((self.root / "waiting").exists, process)
        return process

    def let_go(self) -> None:
        (self.root / "wait").unlink()

    def outs(self) -> dict[str, bytes]:
        return {
            f"{stage}/{file}": (self.root / "artifacts" / stage / file).read_bytes()
            for stage in STAGES
            for file in FILES[stage]
        }
