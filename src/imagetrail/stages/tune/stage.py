"""Find a good recipe. Reads data/split, augmented, synthetic, pretrain; writes artifacts/tune."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from imagetrail.base import paths, pipeline
from imagetrail.base.criteria import Criterion
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_json, replacing, write_csv, write_json
from imagetrail.base.params import load
from imagetrail.base.terminal import progress, say
from imagetrail.base.words import percent
from imagetrail.stages.tune.costs import costs
from imagetrail.stages.tune.params import Tune, resolve, with_largest_shares
from imagetrail.stages.tune.search import Leg, Report, search
from imagetrail.stages.tune.space import By
from imagetrail.stages.tune.study import Trial
from imagetrail.tracking import live
from imagetrail.tracking.parts import trial_part
from imagetrail.training import checkpoints
from imagetrail.training.chosen import default_recipe
from imagetrail.training.data import Experiment, open_experiment
from imagetrail.training.jobs import Job, decisive, train_all
from imagetrail.training.recipe import Recipe

FIXED = ("model", "width")  # where there are pretrained weights
# Decide what a network costs.
SHAPE = ("model", "activation", "initialisation", "width", "enlarge", "dropout")
SHOWN = ("flops_forward", "parameters")  # costs in pareto.csv, whatever the search minimises

Price = Callable[[dict[str, Any], Sequence[str]], dict[str, float]]


def run() -> dict[str, float]:
    section, seed = load(Tune, "tune"), load(int, "seed")
    by = load(Criterion, "decide_by")
    recipe = default_recipe(epochs=section.rungs[-1])
    data, inputs = open_experiment(), pipeline.inputs("tune")
    tune = _searchable(section, recipe, data)
    settings = {"tune": section.model_dump(), "recipe": recipe.model_dump()}
    state = _state({"inputs": inputs, **settings, "seed": seed, "decide_by": by})
    content = decisive(inputs)

    def job(values: dict[str, Any], until: int) -> Job:
        return Job(content, _recipe(recipe, values), tune.images, seed, until, state)

    def run_legs(legs: Sequence[Leg]) -> Iterator[Report]:
        for rows in train_all([job(leg.values, leg.until) for leg in legs]):
            yield Report(rows[-1][f"valid_{by}"], rows) if rows else Report(None)

    price = _prices(data, recipe)
    trials: list[Trial] = []
    with (
        live.running("tune", tune.model_dump(exclude={"space", "known", "limits"})) as log,
        progress("searching", tune.trials, "trials") as bar,
    ):
        for trial in search(
            tune, run_legs, seed=seed, folder=state, costs=lambda values: price(values, tune.costs)
        ):
            trials.append(trial)
            row = _row(trial, tune, recipe)
            times = job(trial.values, trial.trained).times()
            log.part(trial_part(row, recipe.model_dump(), trial.history), times)
            say(_line(row, by))
            bar.to(len(trials), _best(trials, by))
        _write(trials, tune, recipe)
        _write_front(trials, tune, price)
    return {"epochs": sum(trial.epochs for trial in trials)}


def _searchable(tune: Tune, recipe: Recipe, data: Experiment) -> Tune:
    """The search with every choice checked, and without what pretrained weights fix."""
    tune = resolve(tune, recipe, "params.yaml: tune")
    fixed = [name for name in FIXED if name in tune.space and data.pretrained]
    if fixed:
        say(f"not searched, as the pretrained weights fix it: {', '.join(fixed)}")
    space = {
        name: choices
        for name, choices in tune.space.items()
        if name not in fixed and not (isinstance(choices, By) and choices.by in fixed)
    }
    data.mixture(with_largest_shares(recipe, space))  # raises UserError where images lack
    return tune.model_copy(update={"space": space})


def _state(facts: dict[str, Any]) -> Path:
    """The folder of the study of these facts; tells what they change, if it is a new one."""
    state, facts = checkpoints.folder("tune", facts), json.loads(json.dumps(facts))
    path = state / "facts.json"
    if path.exists():
        return state
    before = sorted(state.parent.glob("*/facts.json"), key=lambda other: other.stat().st_mtime)
    if before:
        old = read_json(before[-1])
        changed = [
            f"tune.{name}" for name in facts["tune"] if facts["tune"][name] != old["tune"].get(name)
        ]
        others = [name for name in facts if name != "tune"]
        changed += [name for name in others if facts[name] != old.get(name)]
        kept = f"the last one is kept in {before[-1].parent}"
        again = "trainings that are the same are not repeated"
        say(f"{', '.join(changed)} changed: a new study begins; {kept}, and {again}")
    write_json(path, facts)
    return state


def _recipe(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    return recipe.model_copy(update=values)  # typed before


def _prices(data: Experiment, recipe: Recipe) -> Price:
    """What a trial's network costs; one of each shape is built, and none is trained."""
    known: dict[tuple[Any, ...], dict[str, float]] = {}

    def price(values: dict[str, Any], names: Sequence[str]) -> dict[str, float]:
        if not names:
            return {}
        described = _recipe(recipe, values)
        shape = tuple(getattr(described, name) for name in SHAPE)
        found = known.setdefault(shape, {})
        if missing := [name for name in names if name not in found]:
            found |= costs(data.start(described, seed=0).model, missing)
        return {name: found[name] for name in names}

    return price


def _row(trial: Trial, tune: Tune, recipe: Recipe) -> dict[str, Any]:
    """A row of trials.csv. A field that the case left out has the recipe's value, as trained."""
    return {
        "number": trial.number,
        "state": trial.state,
        "epochs": trial.epochs,
        "value": trial.scores.get(trial.epochs, ""),
        **{name: trial.values.get(name, getattr(recipe, name)) for name in tune.space},
    }


def _line(row: dict[str, Any], by: Criterion) -> str:
    score = f"{by.words} {percent(row['value'])}" if row["value"] != "" else "no score"
    state, epochs = row["state"].lower(), row["epochs"]
    fields = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in list(row.items())[4:]
    ]
    return (
        f"trial {row['number']:3d}  {score}  {state:8s} after {epochs} epochs  {', '.join(fields)}"
    )


def _best(trials: list[Trial], by: Criterion) -> str:
    finished = [trial.scores[trial.epochs] for trial in trials if trial.state == "COMPLETE"]
    return f"best {by.words} {percent(max(finished))}" if finished else "none has finished yet"


def _write(trials: list[Trial], tune: Tune, recipe: Recipe) -> None:
    finished = [trial for trial in trials if trial.state == "COMPLETE"]
    if not finished:
        raise UserError(_why_none(trials, tune))
    best = max(finished, key=lambda trial: trial.scores[trial.epochs])
    folder = paths.artifacts("tune")
    rows = [_row(trial, tune, recipe) for trial in trials]
    write_csv(folder / "trials.csv", rows)
    write_csv(
        folder / "history.csv",
        [{"number": trial.number, **row} for trial in trials for row in trial.history],
    )
    with replacing(folder / "best.yaml") as temporary:
        chosen = {name: rows[best.number][name] for name in tune.space}
        temporary.write_text(yaml.safe_dump(chosen, sort_keys=True))
    write_json(folder / "recipe.json", recipe.model_dump())


def _why_none(trials: list[Trial], tune: Tune) -> str:
    failed = sum(trial.state == "FAIL" for trial in trials)
    beyond = sum(trial.state == "PRUNED" and not trial.scores for trial in trials)
    reasons = []
    if failed:
        reasons.append(
            f"{failed} of {len(trials)} failed: narrow tune.space, for example to lower lr"
        )
    if beyond:
        least = {cost: min(trial.costs[cost] for trial in trials) for cost in tune.limits}
        bounds = [
            f"{cost} {limit:g} (the least was {least[cost]:g})"
            for cost, limit in tune.limits.items()
        ]
        reasons.append(f"{beyond} of {len(trials)} were beyond tune.limits: {', '.join(bounds)}")
    return f"no trial finished; {'; '.join(reasons)}"


def _write_front(trials: list[Trial], tune: Tune, price: Price) -> None:
    """The finished trials than which none is both better and cheaper, the cheapest first.

    Of the costs the first column is the one that they are compared by.
    """
    cost = tune.minimise or SHOWN[0]
    shown = list(dict.fromkeys([cost, *SHOWN]))
    rows = [
        {"number": trial.number, "value": trial.scores[trial.epochs], **price(trial.values, shown)}
        for trial in trials
        if trial.state == "COMPLETE"
    ]
    front: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row[cost], -row["value"])):
        if not front or row["value"] > front[-1]["value"]:
            front.append(row)
    write_csv(paths.artifacts("tune") / "pareto.csv", front)
