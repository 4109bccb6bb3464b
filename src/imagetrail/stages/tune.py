"""Find a good recipe. Reads train, augmented, synthetic and valid, writes artifacts/tune."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from imagetrail import checkpoints, experiment, layout, live, parallel, pipeline, tracking
from imagetrail.errors import UserError
from imagetrail.files import replacing, write_csv, write_json
from imagetrail.history import as_row, begin, read_history, times, write_history
from imagetrail.params import load
from imagetrail.search import Leg, Report, Tune, search, values_of
from imagetrail.training import Diverged, Recipe


@dataclass(frozen=True)
class Job:
    """A leg of a trial, with all that a worker needs to train it."""

    leg: Leg
    recipe: Recipe
    images: int | None
    seed: int
    state: Path


def run() -> dict[str, float]:
    tune, seed = load(Tune, "tune"), load(int, "seed")
    recipe = experiment.default_recipe(epochs=tune.rungs[-1])
    tune = _searchable(tune, recipe)
    facts = {"inputs": pipeline.inputs("tune"), "tune": tune.model_dump(), "recipe": recipe.model_dump(), "seed": seed}
    state = checkpoints.folder("tune", facts)
    first = {name: getattr(recipe, name) for name in tune.space}
    train = partial(_train, tune=tune, recipe=recipe, seed=seed, state=state)
    rows: list[dict[str, Any]] = []
    with live.running("tune", tune.model_dump(exclude={"space"})) as log:
        for trial in search(tune, train, seed=seed, folder=state, first=first):
            scores = trial.intermediate_values
            epochs = max(scores, default=0)
            row = {
                "number": trial.number,
                "state": trial.state.name,
                "epochs": epochs,
                "value": scores.get(epochs, ""),
                **trial.params,
            }
            rows.append(row)
            path = _history(state, trial.number)
            log.part(tracking.trial_part(row, recipe.model_dump(), read_history(path)), times(path))
            print(_line(row), flush=True)
        _write(rows, state, tune)
        write_json(layout.artifacts("tune") / "recipe.json", recipe.model_dump())
    return {"epochs": sum(row["epochs"] for row in rows)}


def _searchable(tune: Tune, recipe: Recipe) -> Tune:
    """The search with every choice checked, and without what earlier stages have settled."""
    space = dict(tune.space)
    for name, choices in space.items():
        for value in values_of(choices):
            experiment.override(recipe, {name: value}, f"params.yaml: tune.space.{name}")
    if {"width", "model"} & space.keys() and experiment.open_experiment().pretrained:
        space = {name: choices for name, choices in space.items() if name not in ("width", "model")}
        print("width and model are not searched: the pretrained weights have settled them")
    return tune.model_copy(update={"space": space})


def _train(legs: Sequence[Leg], *, tune: Tune, recipe: Recipe, seed: int, state: Path) -> Iterable[Report]:
    return parallel.map(_advance, [Job(leg, recipe, tune.images, seed, state) for leg in legs])


def _advance(job: Job) -> Report:
    """Trains a trial up to its next rung. What was done before a crash is not done again."""
    checkpoint, history = job.state / f"trial-{job.leg.number:04d}.safetensors", _history(job.state, job.leg.number)
    recipe = experiment.override(job.recipe, job.leg.values, f"trial {job.leg.number}")
    begin(history)
    data = experiment.open_experiment()
    training = data.start(recipe, seed=job.seed, checkpoint=checkpoint)
    rows = read_history(history)[: training.epoch]
    try:
        rows += [as_row(epoch) for epoch in data.fit(training, images=job.images, until=job.leg.until)]
    except Diverged:
        return Report(None)
    write_history(history, rows)
    checkpoints.save(checkpoint, training)
    return Report(float(rows[job.leg.until - 1]["valid_top1"]))


def _history(state: Path, number: int) -> Path:
    return state / f"trial-{number:04d}.csv"


def _line(row: dict[str, Any]) -> str:
    values = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in list(row.items())[4:]
    )
    score = f"{row['value']:.2%}" if row["value"] != "" else "no score"
    return f"trial {row['number']:3d}  {score}  {row['state'].lower():8s} after {row['epochs']} epochs  {values}"


def _write(rows: list[dict[str, Any]], state: Path, tune: Tune) -> None:
    finished = [row for row in rows if row["state"] == "COMPLETE"]
    if not finished:
        raise UserError("no trial finished: every one failed; narrow tune.space, for example to lower lr")
    best = max(finished, key=lambda row: float(row["value"]))
    folder = layout.artifacts("tune")
    write_csv(folder / "trials.csv", rows)
    curves = [{"number": row["number"], **epoch} for row in rows for epoch in read_history(_history(state, row["number"]))]
    write_csv(folder / "history.csv", curves)
    with replacing(folder / "best.yaml") as temporary:
        temporary.write_text(yaml.safe_dump({name: best[name] for name in tune.space}, sort_keys=True))
