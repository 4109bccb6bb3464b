"""Which way is better, and which cure for scarce data helps? Reads split, augmented, synthetic, best.yaml, writes compare.

Every arm of a set is trained with the same seeds, on the same images in the same order, and judged on valid; the test
split stays untouched.

How a cure comes into the final training, or not: the search says how much, the comparison says whether. `tune` may
search the shares of augmented, synthetic and related images. Here each cure is tried alone against real images alone,
with the value that search or recipe gave it, or where that is off, with the one in `compare.cures.tried`. cures.yaml
has every cure that was tried: its value if it helps, else 0 or false. `train` follows best.yaml, and over it cures.yaml.
A cure that is not listed, or that no stage has prepared, is not tried and stays as it is.

A training on a part of the images gets the augmented versions of just these. Synthetic images were drawn by a model of
all images, which favours them there; with `images: null`, or a set no larger than `images`, nothing is favoured.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import AfterValidator, Field, model_validator

from imagetrail import checkpoints, comparison, experiment, layout, live, parallel, pipeline, tracking
from imagetrail.comparison import Standing
from imagetrail.errors import UserError
from imagetrail.experiment import Experiment
from imagetrail.files import replacing, write_csv, write_json
from imagetrail.history import as_row, begin, read_history, times, write_history
from imagetrail.metrics import Floats
from imagetrail.params import Section, load
from imagetrail.training import Diverged, Epoch, Recipe

CURES, REAL, ALL = "cures", "real", "all"  # the set that judges cures, and its arms beside one for each: +<cure>
Rows = list[dict[str, Any]]


def _named(name: str) -> str:
    if not name.strip():
        raise ValueError(f"a set or an arm needs a name, got {name!r}")
    return name


Name = Annotated[str, AfterValidator(_named)]


class Length(Section):
    """How much each training of a set takes."""

    epochs: int = Field(ge=1)
    images: int | None = Field(ge=2)  # train on so many, drawn anew for each seed; null: all


class Cures(Length):
    """What may help where data are scarce: fields of the recipe that can be off, at 0 or false."""

    tried: dict[str, bool | int | float]  # field: the value to try where search and recipe have it off


class Set(Length):
    """Arms to compare with one another."""

    reference: str  # the arm that the others are compared to
    arms: dict[Name, dict[str, Any]] = Field(min_length=2)  # name: fields of the recipe that differ from the reference's

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> "Set":
        if self.reference not in self.arms:
            raise ValueError(f"reference must be one of the arms {', '.join(self.arms)}, got {self.reference!r}")
        return self


class Compare(Section):
    """The `compare` section."""

    seeds: int = Field(ge=3)  # trainings an arm
    cures: Cures
    sets: dict[Name, Set] = Field(min_length=1)

    @model_validator(mode="after")
    def _sets_have_names_of_their_own(self) -> "Compare":
        if CURES in self.sets:
            raise ValueError(f"sets: {CURES!r} is the set that compare.{CURES} makes; got another of that name")
        return self


@dataclass(frozen=True)
class Contest:
    """A set whose recipes are made out."""

    name: str
    reference: str
    arms: dict[str, Recipe]
    epochs: int
    images: int | None


@dataclass(frozen=True)
class Job:
    """A training, of one arm or of several that have the same recipe."""

    recipe: Recipe
    images: int | None
    seed: int
    state: Path


def run() -> dict[str, float]:
    compare, seed = load(Compare, "compare"), load(int, "seed")
    base, data = experiment.best_recipe(epochs=1), experiment.open_experiment()
    contests = made_out(compare, base, "params.yaml: compare", prepared=lambda cure: _prepared(data, cure))
    facts = {"inputs": pipeline.inputs("compare"), "compare": compare.model_dump(), "base": base.model_dump(), "seed": seed}
    jobs = _jobs(contests, range(seed, seed + compare.seeds), checkpoints.folder("compare", facts))
    rows: Rows = []
    curves: Rows = []
    with live.running("compare", {"seeds": compare.seeds}) as log:
        for job, history in zip(jobs, parallel.map(_train, jobs), strict=True):
            for contest, arm in _arms_of(job, contests):
                which = {"set": contest.name, "arm": arm, "seed": job.seed}
                rows.append(which | {score: history[-1][score] for score in ("valid_top1", "valid_loss")})
                curves += [which | epoch for epoch in history]
                log.part(tracking.arm_part(rows[-1], job.recipe.model_dump(), history), times(job.state))
                print(f"{contest.name}: {arm}, seed {job.seed}: {rows[-1]['valid_top1']:.2%}", flush=True)
        ranking = judged(rows, contests, images=len(data.valid))
        _write(rows, curves, contests, ranking)
    print("\n".join(f"{row['set']}: {row['verdict']}" for row in ranking["sets"]))
    return {"trainings": len(jobs)}


def made_out(compare: Compare, base: Recipe, where: str, *, prepared: Callable[[str], bool]) -> list[Contest]:
    """Every set with its recipes. Raises UserError, beginning with `where`, for a wrong field or value.

    prepared: whether the images or weights that a cure needs are there; cures without are left out.
    """
    sets = {f"sets.{name}": arms for name, arms in compare.sets.items()}
    tried = {cure: value for cure, value in compare.cures.tried.items() if prepared(cure)}
    if tried:
        sets = {CURES: _cures(compare.cures, tried, base, f"{where}.{CURES}.tried")} | sets
    return [_contest(key, arms, base, where) for key, arms in sets.items()]


def _cures(cures: Cures, tried: dict[str, Any], base: Recipe, where: str) -> Set:
    checked = experiment.override(base, tried, where)
    for cure in tried:
        if not getattr(checked, cure) or isinstance(getattr(checked, cure), str):
            raise UserError(f"{where}.{cure}: a cure is a number above 0 or true, not {getattr(checked, cure)!r}")
    on = {cure: getattr(base, cure) or getattr(checked, cure) for cure in tried}
    arms = {REAL: {cure: type(value)(0) for cure, value in on.items()}}
    arms |= {f"+{cure}": {cure: value} for cure, value in on.items()}
    arms |= {ALL: on} if len(on) > 1 else {}
    return Set(epochs=cures.epochs, images=cures.images, reference=REAL, arms=arms)


def _contest(key: str, arms: Set, base: Recipe, where: str) -> Contest:
    def recipe(beginning: Recipe, arm: str) -> Recipe:
        return experiment.override(beginning, arms.arms[arm], f"{where}.{key}.arms.{arm}")

    # few images, to be quick, are not to become many again by repetition
    repeat_to = min(base.repeat_to, arms.images or base.repeat_to)
    reference = recipe(base.model_copy(update={"epochs": arms.epochs, "repeat_to": repeat_to}), arms.reference)
    recipes = {arm: recipe(reference, arm) for arm in arms.arms}
    return Contest(key.removeprefix("sets."), arms.reference, recipes, arms.epochs, arms.images)


def _prepared(data: Experiment, cure: str) -> bool:
    there = {
        "augmented": len(data.augmented) > 0,
        "synthetic": len(data.synthetic) > 0,
        "related": bool((data.related.labels < len(data.train.classes)).any()),
        "pretrained": bool(data.pretrained),
    }
    return there.get(cure, True)


def _jobs(contests: Sequence[Contest], seeds: Iterable[int], state: Path) -> list[Job]:
    """Every training once, seed by seed."""
    different = dict.fromkeys((recipe, contest.images) for contest in contests for recipe in contest.arms.values())
    return [Job(*what, seed, state / f"{i}-{seed}.csv") for seed in seeds for i, what in enumerate(different)]


def _arms_of(job: Job, contests: Sequence[Contest]) -> Iterator[tuple[Contest, str]]:
    """The arms that a training counts for."""
    for contest in contests:
        for arm, recipe in contest.arms.items():
            if (recipe, contest.images) == (job.recipe, job.images):
                yield contest, arm


def _train(job: Job) -> list[dict[str, float]]:
    """The history of one training; one that a crashed run has finished is not done again.

    One that diverges has learned nothing, and counts as guessing.
    """
    if history := read_history(job.state):
        return history
    begin(job.state)
    data = experiment.open_experiment()
    try:
        training = data.start(job.recipe, seed=job.seed)
        history = [as_row(epoch) for epoch in data.fit(training, images=job.images)]
    except Diverged:
        classes = len(data.train.classes)
        history = [as_row(Epoch(job.recipe.epochs, math.log(classes), math.log(classes), 1 / classes, job.recipe.lr))]
    write_history(job.state, history)
    return history


def judged(rows: Rows, contests: Sequence[Contest], *, images: int) -> dict[str, Any]:
    """ranking.json: a sentence a set, how each arm stands, and each cure as it goes into the final training.

    images: how many a score is a share of.
    """
    sets: Rows = []
    arms: Rows = []
    proven: dict[str, Any] = {}
    for contest in contests:
        scores = {arm: _scores(rows, contest.name, arm) for arm in contest.arms}
        seeds, length = len(scores[contest.reference]), {"epochs": contest.epochs, "images": contest.images}
        words = comparison.EFFECTS if contest.name == CURES else comparison.OUTCOMES
        standings = comparison.rank(scores, contest.reference, resolution=1 / images, words=words)
        verdict = comparison.sentence(standings, seeds)
        if contest.name == CURES:
            proven = _proven(contest, standings)
            verdict = comparison.cures_sentence(standings, proven, seeds)
        sets.append({"set": contest.name, "reference": contest.reference, "verdict": verdict, "seeds": seeds, **length})
        arms += [{"set": contest.name} | asdict(standing) for standing in standings]
    verdict = " ".join(row["verdict"] for row in sets)
    return {"metric": "valid_top1", "verdict": verdict, "proven": proven, "sets": sets, "arms": arms}


def _scores(rows: Rows, name: str, arm: str) -> Floats:
    return np.array([row["valid_top1"] for row in rows if (row["set"], row["arm"]) == (name, arm)])


def _proven(contest: Contest, standings: Sequence[Standing]) -> dict[str, Any]:
    """Each cure's value in the final training: the one tried if it helps, else off."""
    helping = [standing.arm for standing in standings if standing.verdict == comparison.HELPS]
    cures = [arm.removeprefix("+") for arm in contest.arms if arm not in (REAL, ALL)]
    return {cure: getattr(contest.arms[f"+{cure}" if f"+{cure}" in helping else REAL], cure) for cure in cures}


def _write(rows: Rows, curves: Rows, contests: Sequence[Contest], ranking: dict[str, Any]) -> None:
    folder = layout.artifacts("compare")
    write_csv(folder / "results.csv", rows)
    write_csv(folder / "history.csv", curves)
    recipes = {contest.name: {arm: recipe.model_dump() for arm, recipe in contest.arms.items()} for contest in contests}
    write_json(folder / "recipes.json", recipes)
    write_json(folder / "ranking.json", ranking)
    with replacing(experiment.CURES) as temporary:
        temporary.write_text(yaml.safe_dump(ranking["proven"]))
