"""How many epochs a search needs for what random search reaches in all of its own.

Every side trains the same small networks on the same 600 images of Fashion-MNIST, is judged on the
same 1,500 others, draws from the same space, and may spend as many epochs as 24 whole trials take:
648. The peer is Optuna's random search without pruning; `default` is Optuna's own: TPE and median
pruner in a plain `study.optimize`. Ours begins with nothing; `aided`, a row of its own, tries the
recipe of params.yaml first, in batches that fit so few images. `two_workers` is `imagetrail tune`
with two workers against one. `bookkeeping` is all of a trial but training, against Optuna's own
with its file of SQLite. `activations` have the best against relu, and below all of them, by mean
and spread over seeds with one short recipe. Two choices suit rungs, and so ours: a trial is 27
short epochs, and the space has no schedule, whose early epochs would mislead.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import optuna  # noqa: TID251  it is the peer
import safetensors.numpy
import yaml
from harness import HERE, figure, write
from search_activations import activations
from search_sides import BUDGET, EPOCHS, RUNGS, SIDES, SPACE, data, space

from imagetrail.base import paths, samples
from imagetrail.base.samples import Samples
from imagetrail.compute import parallel
from imagetrail.stages.tune.params import Tune
from imagetrail.stages.tune.search import Report, search
from imagetrail.stages.tune.study import draw
from imagetrail.tracking.opening import open_store

REPEATS = 10
WORK = 48  # trials, to measure what a second worker gains


def one(job: tuple[str, int]) -> list[float]:
    """The best score after each epoch of a search."""
    side, seed = job
    return SIDES[side](seed)


def reached(best: Sequence[float], target: float) -> int:
    """The epochs it took to a score; one that has not got there counts as twice the budget."""
    return next(
        (number for number, score in enumerate(best, start=1) if score >= target), 2 * BUDGET
    )


def searches() -> dict[str, Any]:
    jobs = [(side, seed) for seed in range(REPEATS) for side in SIDES]
    found = dict(zip(jobs, parallel.map(one, jobs), strict=True))
    best = {side: [found[side, seed] for seed in range(REPEATS)] for side in SIDES}
    picture(best)
    targets = [course[-1] for course in best["random"]]
    epochs = {side: [*map(reached, best[side], targets)] for side in SIDES}
    scores = {side: [course[-1] for course in courses] for side, courses in best.items()}
    at = {
        side: {
            number: mean(course[: number + 1][-1] for course in best[side])
            for number in range(EPOCHS, BUDGET + 1, EPOCHS)
        }
        for side in SIDES
    }
    facts = {
        "default": epochs["default"],
        "random_own": epochs["random"],
        "best": scores,
        "mean_best_after": at,
    }
    peer = [float(BUDGET)] * REPEATS
    return {
        "epochs_to_random_best": figure(epochs["ours"], peer, "epochs", **facts),
        "epochs_to_random_best-aided": figure(epochs["aided"], peer, "epochs"),
        "epochs_to_random_best-against-default": figure(
            epochs["ours"], epochs["default"], "epochs"
        ),
    }


def picture(best: dict[str, list[list[float]]]) -> None:
    from matplotlib.figure import Figure

    image = Figure(figsize=(6, 3.8), layout="constrained")
    axes = image.subplots()
    names = {
        "random": "Optuna, random",
        "default": "Optuna, TPE and median pruner",
        "ours": "ours",
        "aided": "ours, known recipe first",
    }
    for (side, name), colour in zip(
        names.items(), ("#999999", "#1f77b4", "#d62728", "#ff9896"), strict=True
    ):
        shortest = min(map(len, best[side]))  # that of the aided is half as long
        courses = 100 * np.array([course[:shortest] for course in best[side]])
        epochs = range(1, courses.shape[1] + 1)
        axes.fill_between(
            epochs, courses.min(0), courses.max(0), color=colour, alpha=0.12, linewidth=0
        )
        axes.plot(epochs, np.median(courses, 0), color=colour, label=name)
    axes.axvline(
        BUDGET / 5, color="black", linestyle=":", linewidth=1, label="a fifth of the budget"
    )
    low = np.median([course[EPOCHS // 3] for course in best["random"]])
    axes.set(
        xlabel="epochs spent",
        ylabel="best valid top-1 so far, %",
        xscale="log",
        xlim=(EPOCHS / 3, BUDGET),
        ylim=(100 * low, None),
    )
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    image.savefig(HERE / "results" / "search.png", dpi=110, metadata={"Software": None})


def bookkeeping() -> dict[str, Any]:
    """Milliseconds a trial for all but training: drawing, pruning, keeping the study on disk."""
    tune = Tune(trials=100, batch=4, rungs=RUNGS, images=None, space=space())

    def score(values: dict[str, Any], epoch: int) -> float:
        return epoch / 10 - values["dropout"]

    def objective(trial: optuna.Trial) -> float:
        values = draw(trial, tune.space)
        for rung in tune.rungs:
            trial.report(score(values, rung), rung)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score(values, EPOCHS)

    mine, theirs = [], []
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            before = time.perf_counter()
            run = lambda legs: [Report(score(leg.values, leg.until)) for leg in legs]  # noqa: E731
            list(search(tune, run, seed=seed, folder=Path(folder)))
            mine.append(1000 * (time.perf_counter() - before) / tune.trials)
            before = time.perf_counter()
            sampler, storage = optuna.samplers.TPESampler(seed=seed), f"sqlite:///{folder}/study.db"
            study = optuna.create_study(storage=storage, direction="maximize", sampler=sampler)
            study.optimize(objective, n_trials=tune.trials)
            theirs.append(1000 * (time.perf_counter() - before) / tune.trials)
    return {"bookkeeping": figure(mine, theirs, "ms")}


def two_workers() -> dict[str, Any]:
    """Seconds of `imagetrail tune`, from its timing.json, with two workers; the peer has one."""
    seconds: dict[str, list[float]] = {"1": [], "2": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        project(root)
        trials = set()
        for workers in ("1", "2", "2", "1"):
            shutil.rmtree(root / ".imagetrail", ignore_errors=True)
            environment = os.environ | {"IMAGETRAIL_WORKERS": workers}
            command = [sys.executable, "-m", "imagetrail.cli", "tune"]
            subprocess.run(
                command, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL
            )
            seconds[workers].append(
                json.loads((root / "artifacts/tune/timing.json").read_text())["seconds"]
            )
            trials.add((root / "artifacts/tune/trials.csv").read_bytes())
    return {"two_workers": figure(seconds["2"], seconds["1"], "s", same_bytes=len(trials) == 1)}


def project(root: Path) -> None:
    """A folder with all that `imagetrail tune` reads."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(HERE.parent / name, root)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["recipe"] |= {"width": 0.25, "repeat_to": 0, "ema": 0.97}
    params["tune"] |= {"trials": WORK, "batch": 4, "rungs": RUNGS, "images": None, "space": SPACE}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    train, valid = data("fashion-mnist", 5000)
    none = Samples(train.images[:0], train.index[:0], train.classes)
    others = dict.fromkeys((paths.AUGMENTED, paths.SYNTHETIC, paths.RELATED), none)
    for folder, part in {paths.TRAIN: train, paths.VALID: valid, **others}.items():
        samples.write(
            root / folder,
            [part.images],
            part.index,
            classes=part.classes,
            shape=part.images.shape[1:],
        )
    (root / "artifacts/pretrain").mkdir(parents=True)
    safetensors.numpy.save_file({}, root / "artifacts/pretrain/weights.safetensors")
    open_store(root)  # before the clock runs: to make MLflow's database takes seconds


def main() -> None:
    figures, table = activations()
    chart = "![Best score against epochs spent](results/search.png)"
    about = f"{(__doc__ or '').strip()}\n\n{table}\n\n{chart}"
    for measured in (lambda: figures, bookkeeping, two_workers, searches):
        write("search", about, measured())


if __name__ == "__main__":
    main()
