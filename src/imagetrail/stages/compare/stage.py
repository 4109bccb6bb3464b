"""Which arm, which remedy for scarce data? Reads what tune reads and best.yaml, writes compare.

Every arm of a set is trained with the same seeds, on the same images in the same order, and judged
on valid; the test split stays untouched.

How a remedy comes into the final training, or not: the search says how much, the comparison says
whether. `tune` may search the shares of augmented, synthetic and related images. Here each remedy
is tried alone against real images alone, with the value that search or recipe gave it, or where
that is off, with the one in `compare.remedies.tried`. cures.yaml has every remedy that was tried:
its value if it helps, else 0 or false. `train` follows best.yaml, and over it cures.yaml. A remedy
that is not listed, or that no stage has prepared, is not tried and stays as it is.

Whether all layers of a pretrained network shall learn is judged in a set of its own, beside the
frozen network with a head that is solved.

A training on a part of the images gets the augmented versions of just these. Synthetic images were
drawn by a model of all images, which favours them there; with `images: null`, or a set no larger
than `images`, nothing is favoured.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from imagetrail.base import paths, pipeline
from imagetrail.base.criteria import Criterion
from imagetrail.base.files import replacing, write_csv, write_json
from imagetrail.base.params import load
from imagetrail.base.terminal import progress, say
from imagetrail.base.words import percent
from imagetrail.metrics.scores import Floats, Labels
from imagetrail.stages.compare.arms import JUDGES, Contest, resolve
from imagetrail.stages.compare.params import Compare
from imagetrail.stages.compare.ranking import (
    EFFECTS,
    HELPS,
    OUTCOMES,
    RULE,
    Standing,
    rank,
    remedies_sentence,
    sentence,
)
from imagetrail.tracking import live
from imagetrail.tracking.parts import arm_part
from imagetrail.training import checkpoints
from imagetrail.training.chosen import best_recipe
from imagetrail.training.data import open_experiment
from imagetrail.training.history import as_row
from imagetrail.training.jobs import Job, decisive, train_all
from imagetrail.training.loop import Epoch
from imagetrail.training.recipe import Recipe

Rows = list[dict[str, Any]]

SCORES = ("valid_top1", "valid_macro_recall", "valid_loss")  # that a training is noted with


def run() -> dict[str, float]:
    compare, seed = load(Compare, "compare"), load(int, "seed")
    by = load(Criterion, "decide_by")
    base, data = best_recipe(epochs=1), open_experiment()
    contests = resolve(
        compare.sets, compare.remedies, base, "params.yaml: compare", prepared=data.has
    )
    inputs = pipeline.inputs("compare")
    settings = {"compare": compare.model_dump(), "base": base.model_dump(), "seed": seed}
    state = checkpoints.folder("compare", {"inputs": inputs, **settings})
    jobs = _jobs(contests, range(seed, seed + compare.seeds), decisive(inputs), state)
    rows: Rows = []
    curves: Rows = []
    with (
        live.running("compare", {"seeds": compare.seeds}) as log,
        progress("comparing", len(jobs), "trainings") as bar,
    ):
        for number, (job, done) in enumerate(zip(jobs, train_all(jobs), strict=True), 1):
            history = done or _guessing(job.recipe, classes=len(data.train.classes))
            for contest, arm in _arms_of(job, contests):
                which = {"set": contest.name, "arm": arm, "seed": job.seed}
                rows.append(which | {score: history[-1][score] for score in SCORES})
                curves += [which | epoch for epoch in history]
                log.part(arm_part(rows[-1], job.recipe.model_dump(), history), job.times())
                score = f"{by.words} {percent(rows[-1][f'valid_{by}'])}"
                say(f"{contest.name}: {arm}, seed {job.seed}: {score}")
            bar.to(number, _best(rows, by))
        ranking = judged(rows, contests, by=by, labels=data.valid.labels)
        _write(rows, curves, contests, ranking)
    say(*(f"{row['set']}: {row['verdict']}" for row in ranking["sets"]))
    return {"trainings": len(jobs)}


def _best(rows: Rows, by: Criterion) -> str:
    best = max(rows, key=lambda row: float(row[f"valid_{by}"]))
    return f"best {by.words} {percent(best[f'valid_{by}'])} ({best['set']}: {best['arm']})"


def _jobs(
    contests: Sequence[Contest], seeds: Iterable[int], inputs: dict[str, str], state: Path
) -> list[Job]:
    """Every training once, seed by seed, but those of all layers first.

    They take longest, and see the pictures that the others then know.
    """
    different = dict.fromkeys(
        (recipe, contest.images) for contest in contests for recipe in contest.arms.values()
    )
    jobs = [
        Job(inputs, recipe, images, seed, recipe.epochs, state)
        for seed in seeds
        for recipe, images in different
    ]
    return sorted(jobs, key=lambda job: not job.recipe.fine_tune)


def _arms_of(job: Job, contests: Sequence[Contest]) -> Iterator[tuple[Contest, str]]:
    """The arms that a training counts for."""
    for contest in contests:
        for arm, recipe in contest.arms.items():
            if (recipe, contest.images) == (job.recipe, job.images):
                yield contest, arm


def _guessing(recipe: Recipe, classes: int) -> list[dict[str, float]]:
    """What a training that diverged has learned: nothing."""
    loss, right = math.log(classes), 1 / classes
    return [as_row(Epoch(recipe.epochs, loss, loss, right, right, recipe.lr))]


def judged(
    rows: Rows, contests: Sequence[Contest], *, by: Criterion, labels: Labels
) -> dict[str, Any]:
    """ranking.json: a sentence a set, each arm's standing, each remedy in the final training.

    labels: of the images that the scores are of.
    """
    metric, resolution = f"valid_{by}", _resolution(by, labels)
    sets: Rows = []
    arms: Rows = []
    proven: dict[str, Any] = {}
    for contest in contests:
        reached = {arm: _scores(rows, contest.name, arm, metric) for arm in contest.arms}
        seeds = len(reached[contest.reference])
        words = EFFECTS if contest.name in JUDGES else OUTCOMES
        standings = rank(reached, contest.reference, resolution=resolution, words=words)
        verdict = sentence(standings, seeds, by.words)
        if contest.name in JUDGES:
            found = _proven(contest, standings)
            verdict = remedies_sentence(standings, found, seeds, by.words)
            proven |= found
        facts = {"set": contest.name, "reference": contest.reference, "verdict": verdict}
        length = {"seeds": seeds, "epochs": contest.epochs, "images": contest.images}
        sets.append(facts | length)
        arms += [{"set": contest.name} | asdict(standing) for standing in standings]
    verdict = " ".join(row["verdict"] for row in sets)
    whole = {"metric": metric, "verdict": verdict, "rule": RULE, "proven": proven}
    return {**whole, "sets": sets, "arms": arms}


def _resolution(by: Criterion, labels: Labels) -> float:
    """The step in which scores come; of a mean over classes, the root of the squares of theirs."""
    images = np.unique(labels, return_counts=True)[1]
    if by is Criterion.TOP1:
        return 1 / len(labels)
    return float(np.sqrt((1 / images**2).sum())) / len(images)


def _scores(rows: Rows, name: str, arm: str, metric: str) -> Floats:
    return np.array([row[metric] for row in rows if (row["set"], row["arm"]) == (name, arm)])


def _proven(contest: Contest, standings: Sequence[Standing]) -> dict[str, Any]:
    """Each remedy's value in the final training: the one tried if it helps, else off."""
    helping = [standing.arm for standing in standings if standing.verdict == HELPS]
    tried = [arm for arm in contest.arms if arm.startswith("+")]
    ends = {arm: contest.arms[arm if arm in helping else contest.reference] for arm in tried}
    return {arm[1:]: getattr(recipe, arm[1:]) for arm, recipe in ends.items()}


def _write(rows: Rows, curves: Rows, contests: Sequence[Contest], ranking: dict[str, Any]) -> None:
    folder = paths.artifacts("compare")
    write_csv(folder / "results.csv", rows)
    write_csv(folder / "history.csv", curves)
    recipes = {
        contest.name: {arm: recipe.model_dump() for arm, recipe in contest.arms.items()}
        for contest in contests
    }
    write_json(folder / "recipes.json", recipes)
    write_json(folder / "ranking.json", ranking)
    with replacing(paths.REMEDIES) as temporary:
        temporary.write_text(yaml.safe_dump(ranking["proven"]))
