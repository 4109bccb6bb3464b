"""Is one way better than another? Reads train, augmented, synthetic, valid and best.yaml, writes artifacts/compare.

Every arm is trained with the same seeds and judged on valid; the test split stays untouched.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from imagetrail import checkpoints, experiment, layout, live, metrics, parallel, pipeline, tracking
from imagetrail.files import write_csv, write_json
from imagetrail.history import as_row, begin, read_history, times, write_history
from imagetrail.params import Section, load
from imagetrail.training import Recipe


class Compare(Section):
    """The `compare` section."""

    seeds: int = Field(ge=2)  # trainings an arm
    epochs: int = Field(ge=1)
    images: int | None = Field(ge=1)  # train on so many images; null: all
    reference: str  # the arm that the others are compared to
    arms: dict[str, dict[str, Any]] = Field(min_length=2)  # name -> fields of the recipe that differ

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> "Compare":
        if self.reference not in self.arms:
            raise ValueError(f"reference must be one of the arms {', '.join(self.arms)}, got {self.reference!r}")
        return self


@dataclass(frozen=True)
class Job:
    arm: str
    recipe: Recipe
    seed: int
    images: int | None
    state: str


def run() -> dict[str, float]:
    compare, seed = load(Compare, "compare"), load(int, "seed")
    base = experiment.best_recipe(epochs=compare.epochs)
    recipes = {
        arm: experiment.override(base, values, f"params.yaml: compare.arms.{arm}") for arm, values in compare.arms.items()
    }
    facts = {"inputs": pipeline.inputs("compare"), "compare": compare.model_dump(), "base": base.model_dump(), "seed": seed}
    state = checkpoints.folder("compare", facts)
    jobs = [
        Job(arm, recipe, seed + number, compare.images, str(state / f"{arm}-{seed + number}.csv"))
        for number in range(compare.seeds)
        for arm, recipe in recipes.items()
    ]
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    described = {arm: recipe.model_dump() for arm, recipe in recipes.items()}
    with live.running("compare", compare.model_dump(exclude={"arms"})) as log:
        for job, history in zip(jobs, parallel.map(_train, jobs), strict=True):
            rows.append(
                {
                    "arm": job.arm,
                    "seed": job.seed,
                    "valid_top1": history[-1]["valid_top1"],
                    "valid_loss": history[-1]["valid_loss"],
                }
            )
            curves += [{"arm": job.arm, "seed": job.seed, **epoch} for epoch in history]
            log.part(tracking.arm_part(rows[-1], described[job.arm], history), times(Path(job.state)))
            print(f"{job.arm}, seed {job.seed}: {history[-1]['valid_top1']:.2%}", flush=True)
        folder = layout.artifacts("compare")
        write_csv(folder / "results.csv", rows)
        write_csv(folder / "history.csv", curves)
        ranking = rank(rows, compare.reference)
        write_json(folder / "ranking.json", ranking)
        write_json(folder / "recipes.json", described)
    print(ranking["verdict"])
    return {"trainings": len(rows)}


def _train(job: Job) -> list[dict[str, float]]:
    """The history of one training; one that a crashed run has finished is not done again."""
    path = Path(job.state)
    if history := read_history(path):
        return history
    begin(path)
    data = experiment.open_experiment()
    training = data.start(job.recipe, seed=job.seed)
    history = [as_row(epoch) for epoch in data.fit(training, images=job.images)]
    write_history(path, history)
    return history


def rank(rows: list[dict[str, Any]], reference: str) -> dict[str, Any]:
    """Arms, best first, with mean, 95 % interval and verdict against the reference: paired by seed, Holm-corrected."""
    names = list(dict.fromkeys(row["arm"] for row in rows))
    scores = {name: np.array([row["valid_top1"] for row in rows if row["arm"] == name]) for name in names}
    others = [name for name in names if name != reference]
    corrected = metrics.holm([metrics.paired_p(scores[name], scores[reference]) for name in others])
    p_values = dict(zip(others, corrected, strict=True))
    arms = [_arm(name, scores[name], scores[reference], p_values.get(name)) for name in names]
    arms.sort(key=lambda arm: -arm["mean"])
    return {"reference": reference, "metric": "valid_top1", "verdict": _verdict(arms, reference), "arms": arms}


def _arm(name: str, scores: metrics.Floats, reference: metrics.Floats, p: float | None) -> dict[str, Any]:
    low, high = metrics.mean_interval(scores)
    arm: dict[str, Any] = {
        "arm": name,
        "mean": float(scores.mean()),
        "sd": float(scores.std(ddof=1)),
        "low": low,
        "high": high,
    }
    if p is None:
        return arm | {"verdict": "reference"}
    difference = float((scores - reference).mean())
    verdict = "tie" if p >= 0.05 else "win" if difference > 0 else "loss"
    return arm | {"difference": difference, "p": p, "verdict": verdict}


def _verdict(arms: list[dict[str, Any]], reference: str) -> str:
    """One sentence to quote."""
    groups = {kind: [arm["arm"] for arm in arms if arm["verdict"] == kind] for kind in ("win", "tie", "loss")}
    words = {"win": "better than", "tie": "not told apart from", "loss": "worse than"}
    said = [f"{', '.join(names)} {words[kind]} {reference}" for kind, names in groups.items() if names]
    best = arms[0]
    return f"Best on average is {best['arm']} with {best['mean']:.2%} ± {best['sd']:.2%} top-1 on valid; {'; '.join(said)}."
