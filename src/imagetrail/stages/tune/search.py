"""Search for a good recipe: trials train in rungs, and only the promising go on.

Trials come in rounds. In a round a batch of new trials and what goes on of the earlier ones each
train a leg, wherever a worker is free: to their next rung, or on the way there, as a leg is at most
twice as long as those of the new trials together, lest all workers wait for one. Who has come to a
rung reports, and the pruner decides, in order of number: it goes on, ends, or waits until enough
others are there to compare it with. So neither how many workers there are nor how fast they are can
change the outcome. A search that was stopped begins again and repeats its own decisions: what is
finished comes from the study, the legs of the others from whoever keeps their checkpoints.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from statistics import median
from typing import Any

from imagetrail.base.rng import derive
from imagetrail.stages.tune.params import Tune
from imagetrail.stages.tune.space import searched
from imagetrail.stages.tune.study import PRUNERS, Kept, Trial, ask, draw, in_memory


@dataclass(frozen=True)
class Leg:
    """A trial's way to its next rung, or a part of that."""

    number: int
    values: dict[str, Any]  # a value for each field that is searched
    since: int  # epochs done
    until: int


@dataclass(frozen=True)
class Report:
    """What a leg reached."""

    score: float | None  # to maximise; None where the trial failed
    history: Sequence[Mapping[str, float]] = ()  # of the trial so far, a row an epoch


Runner = Callable[[Sequence[Leg]], Iterable[Report]]
Costs = Callable[[dict[str, Any]], dict[str, float]]


def search(
    tune: Tune, run: Runner, *, seed: int, folder: Path, costs: Costs = lambda _: {}
) -> Iterator[Trial]:
    """Yields each trial when it and all before it have ended.

    run: trains legs, on however many workers, and returns their reports in order.
    folder: keeps the study, and names it where IMAGETRAIL_OPTUNA_STORAGE keeps it.
    costs: of a trial's values, those that `tune` names.
    """
    kept = Kept(folder, objectives=tune.objectives)
    under_way = _Search(tune, run, seed, kept, costs)
    while trials := under_way.round():
        for trial in trials:
            kept.add(trial)
            yield trial


class _Search:
    """The trials so far, and how the next ones come from them."""

    def __init__(self, tune: Tune, run: Runner, seed: int, kept: Kept, costs: Costs) -> None:
        self.tune, self.run, self.seed, self.costs = tune, run, seed, costs
        self.known = kept.trials  # of an earlier call
        self.rungs = tune.rungs[-1:] if tune.minimise else tune.rungs
        self.longest = 2 * tune.batch * self.rungs[0]  # epochs of a leg
        self.pruner = PRUNERS[tune.pruner](self.rungs, tune.batch)
        self.trials: list[Trial] = []
        self.returned = 0  # of them, by `round`

    def round(self) -> list[Trial]:
        """Begins a batch, trains what is under way to its next rung, prunes.

        Returns what has ended, in order; an empty list is the end of the search.
        """
        while True:
            self._begin()
            live = [trial for trial in self.trials if trial.state == "RUNNING"]
            moving = [trial for trial in live if not trial.waiting]
            self._train(moving)
            self._prune(live, last=not moving)
            left = self.trials[self.returned :]
            ended = list(takewhile(lambda trial: trial.state != "RUNNING", left))
            self.returned += len(ended)
            if ended or not live:
                return ended

    def _begin(self) -> None:
        tune, spent = self.tune, sum(trial.trained for trial in self.trials)
        if tune.epochs is not None and spent >= tune.epochs:
            return
        scores = self._expected()
        worst = min(scores.values(), default=0.0)  # what failed or was beyond a limit is as bad
        past = [trial.frozen("COMPLETE", scores.get(trial.number, worst)) for trial in self.trials]
        study = in_memory(past, objectives=tune.objectives)
        for number in range(len(self.trials), min(len(self.trials) + tune.batch, tune.trials)):
            # A draw depends on its number and on the trials before it alone.
            seed = derive(self.seed, "sampler", number) % 2**32
            drawn = ask(study, tune.sampler, seed=seed, given=self._given(number))
            values = draw(drawn, tune.space)
            is_known = number < len(self.known)
            costs = self.known[number].user_attrs["costs"] if is_known else self.costs(values)
            excess = {cost: costs[cost] - limit for cost, limit in tune.limits.items()}
            minimised = costs[tune.minimise] if tune.minimise else None
            trial = Trial(
                number, drawn.params, drawn.distributions, values, costs, excess, minimised
            )
            trial.state = "PRUNED" if any(above > 0 for above in excess.values()) else "RUNNING"
            self.trials.append(trial)

    def _given(self, number: int) -> Mapping[str, Any]:
        """What an earlier call has drawn, else what is known to be good and in the space."""
        if number < len(self.known):
            return self.known[number].params
        if number >= len(self.tune.known):
            return {}
        values = self.tune.known[number]
        return {
            name: values[of]
            for name, of, choices in searched(self.tune.space, values)
            if values[of] in choices
        }

    def _expected(self) -> dict[int, float]:
        """What each trial would score at the last rung, by number: its score and others' gains.

        So a pruned trial teaches the sampler what its rung has shown, and one under way is not
        taken for a bad one.
        """
        gain, gains = 0.0, {self.rungs[-1]: 0.0}
        for rung, following in reversed(list(pairwise(self.rungs))):
            known = [trial.scores for trial in self.trials if following in trial.scores]
            gain += median(scores[following] - scores[rung] for scores in known) if known else 0.0
            gains[rung] = gain
        scored = [trial for trial in self.trials if trial.scores and trial.state != "FAIL"]
        return {trial.number: trial.scores[trial.epochs] + gains[trial.epochs] for trial in scored}

    def _train(self, moving: list[Trial]) -> None:
        """Each a leg on. A score counts at a rung only, and so does a failure on the way there."""
        legs = [
            Leg(trial.number, trial.values, trial.trained, self._next(trial)) for trial in moving
        ]
        todo = [leg for leg in legs if leg.number >= len(self.known)]
        reports = iter(self.run(todo) if todo else ())
        for trial, leg in zip(moving, legs, strict=True):
            report = self._reported(leg) if leg.number < len(self.known) else next(reports)
            trial.trained = leg.until
            if leg.until not in self.rungs:
                continue
            if report.score is None or not math.isfinite(report.score):
                trial.state = "FAIL"
                continue
            trial.scores[leg.until], trial.history = report.score, list(report.history)
            if leg.until == self.rungs[-1]:
                trial.state = "COMPLETE"

    def _next(self, trial: Trial) -> int:
        rung = next(rung for rung in self.rungs if rung > trial.trained)
        return min(rung, trial.trained + self.longest)

    def _reported(self, leg: Leg) -> Report:
        """What an earlier call has reported."""
        trial = self.known[leg.number]
        return Report(trial.intermediate_values.get(leg.until), trial.user_attrs["history"])

    def _prune(self, live: list[Trial], *, last: bool) -> None:
        """last: nobody else will come to a rung."""
        study = in_memory((trial.ended() for trial in self.trials), objectives=self.tune.objectives)
        trials = study.get_trials(deepcopy=False)
        for trial in live:
            if trial.state == "RUNNING" and trial.trained in self.rungs:
                pruned = self.pruner(study, trials[trial.number], last)
                trial.waiting = pruned is None
                trial.state = "PRUNED" if pruned else "RUNNING"
