"""Search for a good recipe: Optuna asks, trials train in rungs, and only the promising go on. Sole optuna import.

Trials come in rounds. In a round a batch of new trials and what is left of the earlier ones each train to their next
rung, wherever a worker is free; then they report, and the pruner decides, in order of number. So neither how many
workers there are nor how fast they are can change the outcome. A search that was stopped begins again and repeats its
own decisions: what is finished comes from the study, the legs of the others from whoever keeps their checkpoints.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import Field, model_validator
from sqlalchemy.exc import SQLAlchemyError

from imagetrail.choices import one_of
from imagetrail.costs import COSTS
from imagetrail.errors import UserError
from imagetrail.files import remove
from imagetrail.params import Section
from imagetrail.rng import derive
from imagetrail.space import Range, Space, completed, searched, typed
from imagetrail.training import Recipe

optuna.logging.set_verbosity(optuna.logging.ERROR)


STORAGE = "IMAGETRAIL_OPTUNA_STORAGE"


class Halving(BasePruner):
    """Successive halving (arXiv:1502.07943): of all that reached a rung, a third goes on if the next is 3 times as far.

    Optuna's own takes trials as they come, so that the first of a batch would always go on.
    """

    def __init__(self, rungs: Sequence[int], *, batch: int = 0) -> None:
        """With `batch`, Hyperband (arXiv:1603.06560): a batch is pruned from the first rung on, the next from the second."""
        self.rungs, self.batch = rungs, batch

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step or 0
        at = self.rungs.index(step)
        if self.batch and at < trial.number // self.batch % len(self.rungs):
            return False
        others = study.get_trials(deepcopy=False)
        scores = [other.intermediate_values[step] for other in others if step in other.intermediate_values]
        better = sum(score > trial.intermediate_values[step] for score in scores)
        return better >= max(1, len(scores) * step // self.rungs[at + 1])


# Of a seed, and of how many trials come by chance before it learns.
SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    "gp": lambda seed, chance: GPSampler(seed=seed, n_startup_trials=chance),
    "random": lambda seed, _: RandomSampler(seed=seed),
    "tpe": lambda seed, chance: TPESampler(seed=seed, n_startup_trials=chance, multivariate=True, group=True),
}
# Of the rungs and the size of a batch; none may keep state beyond what trials have reported.
PRUNERS: dict[str, Callable[[Sequence[int], int], BasePruner]] = {
    "hyperband": lambda rungs, batch: Halving(rungs, batch=batch),
    "median": lambda _, batch: MedianPruner(n_startup_trials=batch),
    "none": lambda *_: NopPruner(),
    "successive_halving": lambda rungs, _: Halving(rungs),
}
Cost = Annotated[str, one_of(COSTS, "cost")]


class Tune(Section):
    """The `tune` section: how long to search, how, and where."""

    trials: int = Field(ge=1)
    batch: int = Field(ge=1)  # trials begun together
    rungs: list[int] = Field(min_length=1)  # epochs at which the weaker are pruned; the last is a trial's full length
    epochs: int | None = Field(default=None, ge=1)  # no batch begins once so many are spent; null: no bound
    images: int | None = Field(ge=1)  # train on so many images; null: all
    sampler: Annotated[str, one_of(SAMPLERS, "sampler")] = "tpe"
    pruner: Annotated[str, one_of(PRUNERS, "pruner")] = "successive_halving"
    known: list[dict[str, Any]] = Field(default_factory=list)  # good values of searched fields, tried first
    limits: dict[Cost, float] = Field(default_factory=dict)  # cost: its bound; what is beyond is not trained
    minimise: Cost | None = None  # a second objective; then nothing is pruned, as the accurate would oust the cheap
    space: Space = Field(min_length=1)

    @model_validator(mode="after")
    def _rungs_rise(self) -> "Tune":
        if self.rungs != sorted(set(self.rungs)) or self.rungs[0] < 1:
            raise ValueError(f"rungs must be rising numbers of epochs, got {self.rungs}")
        return self

    @property
    def costs(self) -> list[str]:
        """The costs that it must know of each trial."""
        return sorted({*self.limits, *([self.minimise] if self.minimise else [])})


def settled(tune: Tune, recipe: Recipe, where: str) -> Tune:
    """The search with its space and the known-good values as the recipe types them; raises UserError for any fault."""
    space = typed(tune.space, recipe, f"{where}.space")
    return tune.model_copy(update={"space": space, "known": completed(tune.known, space, recipe, f"{where}.known")})


@dataclass(frozen=True)
class Leg:
    """A trial's way from one rung to the next."""

    number: int
    values: dict[str, Any]  # a value for each field that is searched
    since: int  # epochs done
    until: int


@dataclass(frozen=True)
class Report:
    """What a leg reached: a score to maximise, or None where the trial failed; and the trial's course, a row an epoch."""

    score: float | None
    history: Sequence[Mapping[str, float]] = ()


@dataclass
class Trial:
    """A trial under way or at its end."""

    number: int
    params: dict[str, Any]  # as Optuna has them: a case of a field has a name of its own
    distributions: dict[str, BaseDistribution]
    values: dict[str, Any]  # field -> value
    costs: dict[str, float]
    scores: dict[int, float] = field(default_factory=dict)  # epochs -> score
    history: list[Mapping[str, float]] = field(default_factory=list)  # a row an epoch
    state: str = "RUNNING"  # then COMPLETE, PRUNED or FAIL

    @property
    def epochs(self) -> int:
        return max(self.scores, default=0)


Runner = Callable[[Sequence[Leg]], Iterable[Report]]
Costs = Callable[[dict[str, Any]], dict[str, float]]


def search(
    tune: Tune,
    run: Runner,
    *,
    seed: int,
    folder: Path,
    costs: Costs = lambda _: {},
) -> Iterator[Trial]:
    """Yields each trial when it and all before it have ended.

    run: trains legs, on however many workers, and returns their reports in order.
    folder: keeps the study, and names it where IMAGETRAIL_OPTUNA_STORAGE keeps it.
    costs: of a trial's values, those that `tune` names.
    """
    with _reached(folder):
        study = optuna.create_study(
            storage=os.environ.get(STORAGE) or _journal(folder / "study.journal"),
            study_name=f"imagetrail-{folder.name}",
            directions=_directions(tune),
            load_if_exists=True,
        )
        stored = study.get_trials(deepcopy=False)
    under_way = _Search(tune, run, seed, stored, costs)
    while trials := under_way.round():
        for trial in trials:
            if trial.number >= len(stored):
                with _reached(folder):
                    study.add_trial(_frozen(tune, trial, trial.state))
            yield trial


def draw(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """A value for each field that is searched."""
    values: dict[str, Any] = {}
    for name, searched_field, choices in searched(space, values):
        values[searched_field] = _suggested(trial, name, choices)
    return values


def _suggested(trial: optuna.Trial, name: str, choices: list[Any] | Range) -> Any:
    if isinstance(choices, list):
        return trial.suggest_categorical(name, choices)
    suggest = trial.suggest_int if isinstance(choices.low, int) else trial.suggest_float
    return suggest(name, choices.low, choices.high, log=choices.log)  # type: ignore[arg-type]  # both are of one type


class _Search:
    """The trials so far, and how the next ones come from them."""

    def __init__(self, tune: Tune, run: Runner, seed: int, stored: list[FrozenTrial], costs: Costs) -> None:
        self.tune, self.run, self.seed, self.stored, self.costs = tune, run, seed, stored, costs
        self.rungs = tune.rungs[-1:] if tune.minimise else tune.rungs
        self.pruner = PRUNERS[tune.pruner](self.rungs, tune.batch)
        self.trials: list[Trial] = []
        self.told = 0

    def round(self) -> list[Trial]:
        """Begins a batch, trains what is under way to its next rung, prunes; returns what has ended, in order.

        An empty list is the end of the search.
        """
        while True:
            self._begin()
            live = [trial for trial in self.trials if trial.state == "RUNNING"]
            self._train(live)
            self._prune(live)
            first = self.told
            while self.told < len(self.trials) and self.trials[self.told].state != "RUNNING":
                self.told += 1
            if self.told > first or not live:
                return self.trials[first : self.told]

    def _begin(self) -> None:
        spent = sum(trial.epochs for trial in self.trials)
        if self.tune.epochs is not None and spent >= self.tune.epochs:
            return
        experience = self._experience()
        for number in range(len(self.trials), min(len(self.trials) + self.tune.batch, self.tune.trials)):
            self.trials.append(self._asked(experience, number))

    def _asked(self, study: optuna.Study, number: int) -> Trial:
        """The next trial. Its draw depends on its number and on the trials before it alone."""
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):  # of TPE in groups
            study.sampler = SAMPLERS[self.tune.sampler](derive(self.seed, "sampler", number) % 2**32, self.tune.batch)
        known = self.stored[number] if number < len(self.stored) else None
        if given := known.params if known else self._given(number):
            study.enqueue_trial(given)
        drawn = study.ask()
        values = draw(drawn, self.tune.space)
        costs = known.user_attrs["costs"] if known else self.costs(values)
        trial = Trial(number, drawn.params, drawn.distributions, values, costs)
        if any(trial.costs[cost] > limit for cost, limit in self.tune.limits.items()):
            trial.state = "PRUNED"
        return trial

    def _given(self, number: int) -> dict[str, Any]:
        """What is known to be good, as far as it lies in the space."""
        if number >= len(self.tune.known):
            return {}
        values = self.tune.known[number]
        found = searched(self.tune.space, values)
        return {name: values[field_] for name, field_, choices in found if values[field_] in choices}

    def _train(self, live: list[Trial]) -> None:
        """Each to its next rung, or to its end there."""
        legs = [Leg(trial.number, trial.values, trial.epochs, self._next(trial)) for trial in live]
        todo = [leg for leg in legs if leg.number >= len(self.stored)]
        reports = iter(self.run(todo) if todo else ())
        for trial, leg in zip(live, legs, strict=True):
            report = self._kept(leg) if leg.number < len(self.stored) else next(reports)
            if report.score is None or not math.isfinite(report.score):
                trial.state = "FAIL"
                continue
            trial.scores[leg.until], trial.history = report.score, list(report.history)
            if leg.until == self.rungs[-1]:
                trial.state = "COMPLETE"

    def _kept(self, leg: Leg) -> Report:
        trial = self.stored[leg.number]
        return Report(trial.intermediate_values.get(leg.until), trial.user_attrs["history"])

    def _next(self, trial: Trial) -> int:
        return next(rung for rung in self.rungs if rung > trial.epochs)

    def _prune(self, live: list[Trial]) -> None:
        view = optuna.create_study(directions=_directions(self.tune))
        for trial in self.trials:
            view.add_trial(_frozen(self.tune, trial, trial.state))
        known = view.get_trials(deepcopy=False)
        for trial in live:
            if trial.state == "RUNNING" and self.pruner.prune(view, known[trial.number]):
                trial.state = "PRUNED"

    def _experience(self) -> optuna.Study:
        """What the sampler learns from: every trial, with the score that it would have at the last rung.

        That is its own and the median of what others gained from there on. So a pruned trial teaches as much as the rung
        tells, one under way is not taken for a bad one, and one that failed is as bad as the worst.
        """
        scores = self._expected()
        worst = min(scores.values(), default=0.0)
        study = optuna.create_study(directions=_directions(self.tune))
        for trial in self.trials:
            study.add_trial(_frozen(self.tune, trial, "COMPLETE", scores.get(trial.number, worst)))
        return study

    def _expected(self) -> dict[int, float]:
        """The score of each trial by number, carried forward to the last rung."""
        gain, gains = 0.0, {self.rungs[-1]: 0.0}
        for rung, following in reversed(list(pairwise(self.rungs))):
            known = [trial.scores for trial in self.trials if following in trial.scores]
            gain += median(scores[following] - scores[rung] for scores in known) if known else 0.0
            gains[rung] = gain
        told = [trial for trial in self.trials if trial.scores and trial.state != "FAIL"]
        return {trial.number: trial.scores[trial.epochs] + gains[trial.epochs] for trial in told}


def _frozen(tune: Tune, trial: Trial, state: str, score: float | None = None) -> FrozenTrial:
    """A trial as Optuna keeps it."""
    values = [trial.scores.get(trial.epochs) if score is None else score]
    if tune.minimise:
        values.append(trial.costs[tune.minimise])
    return create_trial(
        state=TrialState[state],
        values=values if state == "COMPLETE" else None,  # type: ignore[arg-type]  # then there is a score
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.scores,
        user_attrs={"costs": trial.costs, "history": trial.history},
        constraints={cost: trial.costs[cost] - limit for cost, limit in tune.limits.items()},
    )


def _directions(tune: Tune) -> list[str]:
    return ["maximize", "minimize"] if tune.minimise else ["maximize"]


def _journal(path: Path) -> JournalStorage:
    """The study in a file; what a kill or a power cut has left of a last line goes, and so does a lock."""
    remove(Path(f"{path}.lock"))
    if path.exists():
        whole = path.read_bytes()
        os.truncate(path, whole.rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(path)))


@contextmanager
def _reached(folder: Path) -> Iterator[None]:
    """Tells in one line that the storage is not there or is damaged, without its address, which may hold a password."""
    where = STORAGE if os.environ.get(STORAGE) else str(folder / "study.journal")
    try:
        yield
    except (ImportError, OSError, SQLAlchemyError, StorageInternalError, ValueError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"{where}: the study cannot be read or written: {reason}") from None
