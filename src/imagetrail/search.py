"""Search for a good recipe: Optuna asks, trials train in rungs, and only the promising go on. Sole optuna import.

Trials come in fixed batches. All of a batch train up to a rung; then they report in order, and the pruner decides in
order. So the outcome does not depend on how many workers there are. The study is kept on disk after every step:
a search that was stopped goes on where it stood.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import Field, model_validator

from imagetrail.errors import UserError
from imagetrail.params import Section
from imagetrail.rng import derive

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Range(Section):
    """A searched range of floating-point numbers."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"low must be below high, and above 0 if log, got low {self.low:g} and high {self.high:g}")
        return self


Space = dict[str, list[bool | int | float | str] | Range]


class Tune(Section):
    """The `tune` section: how long to search, and where."""

    trials: int = Field(ge=1)
    batch: int = Field(ge=1)  # trials decided together
    rungs: list[int] = Field(min_length=1)  # epochs at which the weaker are pruned; the last is a trial's full length
    images: int | None = Field(ge=1)  # train on so many images; null: all
    space: Space  # a field of Recipe: its choices, or its range

    @model_validator(mode="after")
    def _rungs_rise(self) -> "Tune":
        if self.rungs != sorted(set(self.rungs)) or self.rungs[0] < 1:
            raise ValueError(f"rungs must be rising numbers of epochs, got {self.rungs}")
        return self


@dataclass(frozen=True)
class Leg:
    """A trial's way from one rung to the next."""

    number: int
    values: dict[str, Any]
    since: int  # epochs done
    until: int


@dataclass(frozen=True)
class Report:
    """What a leg reached: a score to maximise at each rung, or None where the trial failed."""

    score: float | None


Runner = Callable[[Sequence[Leg]], Iterable[Report]]


def search(tune: Tune, run: Runner, *, seed: int, folder: Path, first: dict[str, Any]) -> Iterator[FrozenTrial]:
    """Yields each trial as it ends, batch by batch, in order of number.

    run: trains legs, on however many workers, and returns their reports in order.
    folder: keeps the study.
    first: known-good values, tried before any other.
    """
    known = {name: value for name, value in first.items() if _inside(tune.space[name], value)}
    try:
        study = _study(folder, tune)
        for start in range(0, tune.trials, tune.batch):
            numbers = range(start, min(start + tune.batch, tune.trials))
            yield from _batch(study, tune, run, numbers, seed, known)
    except optuna.exceptions.StorageInternalError as error:
        raise UserError(f"{folder}: the study there cannot be read or written: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error.__cause__ or error).splitlines()[0]


def _study(folder: Path, tune: Tune) -> optuna.Study:
    return optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}",
        study_name="tune",
        direction="maximize",
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=tune.rungs[0], reduction_factor=3),
        load_if_exists=True,
    )


def _batch(
    study: optuna.Study, tune: Tune, run: Runner, numbers: range, seed: int, first: dict[str, Any]
) -> Iterator[FrozenTrial]:
    trials = [_kept(study, number) or _asked(study, tune, number, seed, first) for number in numbers]
    since = 0
    for rung in tune.rungs:
        live = [trial for trial in trials if not _frozen(study, trial).state.is_finished()]
        todo = [trial for trial in live if rung not in _frozen(study, trial).intermediate_values]
        reports = run([Leg(trial.number, trial.params, since, rung) for trial in todo])
        for trial, report in zip(todo, reports, strict=True):
            if report.score is None or not math.isfinite(report.score):
                study.tell(trial, state=TrialState.FAIL)
            else:
                trial.report(report.score, rung)
        for trial in live:
            _decide(study, trial, rung, last=rung == tune.rungs[-1])
        since = rung
    yield from (_frozen(study, trial) for trial in trials)


def _decide(study: optuna.Study, trial: Trial, rung: int, *, last: bool) -> None:
    frozen = _frozen(study, trial)
    if frozen.state.is_finished():
        return
    if last:
        study.tell(trial, frozen.intermediate_values[rung])
    elif trial.should_prune():
        study.tell(trial, state=TrialState.PRUNED)


def _asked(study: optuna.Study, tune: Tune, number: int, seed: int, first: dict[str, Any]) -> Trial:
    """The next trial, drawn in memory and stored in one go: a kill between two of its values leaves no half trial.

    The sampler is seeded by the trial's number, so that a resumed search draws what it would have drawn.
    """
    sampler = optuna.samplers.TPESampler(seed=derive(seed, "sampler", number) % 2**32, n_startup_trials=tune.batch)
    drawing = optuna.create_study(direction="maximize", sampler=sampler)
    drawing.add_trials(study.get_trials(deepcopy=False))
    if number == 0:
        drawing.enqueue_trial(first)
    drawn = drawing.ask({name: _distribution(choices) for name, choices in tune.space.items()})
    running = optuna.trial.create_trial(state=TrialState.RUNNING, params=drawn.params, distributions=drawn.distributions)
    study.add_trial(running)
    kept = _kept(study, number)
    assert kept is not None, "the study's folder is used by one search at a time"
    return kept


def _kept(study: optuna.Study, number: int) -> Trial | None:
    """The trial with this number, if it has been asked for before."""
    known = study.get_trials(deepcopy=False)
    return Trial(study, known[number]._trial_id) if number < len(known) else None


def values_of(choices: list[Any] | Range) -> list[Any]:
    """The values that stand for all of a field's choices when these are checked: each, or both ends of a range."""
    return [choices.low, choices.high] if isinstance(choices, Range) else choices


def _frozen(study: optuna.Study, trial: Trial) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[trial.number]


def _distribution(choices: list[Any] | Range) -> BaseDistribution:
    if isinstance(choices, Range):
        return FloatDistribution(choices.low, choices.high, log=choices.log)
    return CategoricalDistribution(choices)


def _inside(choices: list[Any] | Range, value: Any) -> bool:
    return choices.low <= value <= choices.high if isinstance(choices, Range) else value in choices
