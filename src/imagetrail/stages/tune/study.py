"""Samplers and pruners by name, and where a study is kept: the only module with Optuna."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from imagetrail.base.errors import UserError
from imagetrail.base.files import remove
from imagetrail.stages.tune.space import Range, Space, searched

optuna.logging.set_verbosity(optuna.logging.ERROR)

STORAGE = "IMAGETRAIL_OPTUNA_STORAGE"


@dataclass
class Trial:
    """A trial under way or at its end."""

    number: int
    params: dict[str, Any]  # as Optuna has them: a case of a field has a name of its own
    distributions: dict[str, BaseDistribution]
    values: dict[str, Any]  # field -> value
    costs: dict[str, float]
    excess: dict[str, float]  # cost -> how far it is above its limit; negative: below
    minimised: float | None  # the cost that is a second objective
    trained: int = 0  # epochs; at most up to the rung that it is on its way to
    scores: dict[int, float] = field(default_factory=dict)  # epochs of a rung -> score
    history: list[Mapping[str, float]] = field(default_factory=list)  # a row an epoch
    state: str = "RUNNING"  # then COMPLETE, PRUNED or FAIL
    waiting: bool = False  # at a rung, for others to be compared with

    @property
    def epochs(self) -> int:
        return max(self.scores, default=0)

    def frozen(self, state: str, score: float | None = None) -> FrozenTrial:
        """As Optuna keeps it, in this state, with this score if it has one."""
        values = (
            [] if score is None else [score] if self.minimised is None else [score, self.minimised]
        )
        return create_trial(
            state=TrialState[state],
            values=values or None,
            params=self.params,
            distributions=self.distributions,
            intermediate_values=self.scores,
            user_attrs={"costs": self.costs, "history": self.history},
            constraints=self.excess,
        )

    def ended(self) -> FrozenTrial:
        return self.frozen(
            self.state, self.scores[self.epochs] if self.state == "COMPLETE" else None
        )


# Is the trial, which has come to a rung, pruned? Its last argument says that no other will come;
# until then None is an answer, too: it waits for others to be compared with.
Pruner = Callable[[optuna.Study, FrozenTrial, bool], bool | None]


class Halving:
    """Successive halving (arXiv:1502.07943): a third goes on to a rung that is 3 times as far.

    A trial waits until there are enough for one to go on, lest the first ones go far by being
    first, as with Optuna's own.
    """

    def __init__(self, rungs: Sequence[int], *, batch: int = 0) -> None:
        """With `batch`, Hyperband (arXiv:1603.06560): each batch is pruned from a later rung on."""
        self.rungs, self.batch = rungs, batch

    def __call__(self, study: optuna.Study, trial: FrozenTrial, last: bool) -> bool | None:
        step = trial.last_step or 0
        at = self.rungs.index(step)
        if self.batch and at < trial.number // self.batch % len(self.rungs):
            return False
        others = study.get_trials(deepcopy=False)
        scores = [
            other.intermediate_values[step] for other in others if step in other.intermediate_values
        ]
        better = sum(score > trial.intermediate_values[step] for score in scores)
        go_on = len(scores) * step // self.rungs[at + 1]
        return better >= max(1, go_on) if go_on or last else None


def _of_optuna(pruner: BasePruner) -> Pruner:
    return lambda study, trial, _: pruner.prune(study, trial)


# Of a seed. Those that learn do so from the tenth trial on; tpe in groups, as fields may depend on
# others.
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "gp": lambda seed: GPSampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, group=True),
}
# Of the rungs and the size of a batch; none may keep state beyond what trials have reported.
PRUNERS: dict[str, Callable[[Sequence[int], int], Pruner]] = {
    "hyperband": lambda rungs, batch: Halving(rungs, batch=batch),
    "median": lambda _, batch: _of_optuna(MedianPruner(n_startup_trials=batch)),
    "none": lambda *_: _of_optuna(NopPruner()),
    "successive_halving": lambda rungs, _: Halving(rungs),
}


def in_memory(trials: Iterable[FrozenTrial], *, objectives: int) -> optuna.Study:
    study = optuna.create_study(directions=_directions(objectives))
    study.add_trials(trials)
    return study


def ask(study: optuna.Study, sampler: str, *, seed: int, given: Mapping[str, Any]) -> optuna.Trial:
    """The next trial of a study in memory; `given` are choices that are not left to the sampler."""
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):  # of TPE in groups
        study.sampler = SAMPLERS[sampler](seed)
    if given:
        study.enqueue_trial(dict(given))
    return study.ask()


def draw(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """A value for each field that is searched."""
    values: dict[str, Any] = {}
    for name, of, choices in searched(space, values):
        values[of] = _suggested(trial, name, choices)
    return values


def _suggested(trial: optuna.Trial, name: str, choices: list[Any] | Range) -> Any:
    if isinstance(choices, list):
        return trial.suggest_categorical(name, choices)
    suggest = trial.suggest_int if isinstance(choices.low, int) else trial.suggest_float
    return suggest(name, choices.low, choices.high, log=choices.log)  # type: ignore[arg-type]  # both are of one type


class Kept:
    """A study on disk or in a database: each trial once it has ended, in order; none is running.

    Raises UserError, in one line, if the storage cannot be reached or is damaged.
    """

    def __init__(self, folder: Path, *, objectives: int) -> None:
        """In `folder`, or under its name in the storage that IMAGETRAIL_OPTUNA_STORAGE names."""
        self.where = STORAGE if os.environ.get(STORAGE) else str(folder / "study.journal")
        with self._reached():
            self.study = optuna.create_study(
                storage=os.environ.get(STORAGE) or _journal(folder / "study.journal"),
                study_name=f"imagetrail-{folder.name}",
                directions=_directions(objectives),
                load_if_exists=True,
            )
            self.trials = self.study.get_trials(deepcopy=False)

    def add(self, trial: Trial) -> None:
        """Keeps a trial, unless it is known."""
        if trial.number >= len(self.trials):
            with self._reached():
                self.study.add_trial(trial.ended())

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (ImportError, OSError, SQLAlchemyError, StorageInternalError, ValueError) as error:
            # of the text's first line only, as the others give the address, and with it a password
            reason = str(error.__cause__ or error).splitlines()[0]
            raise UserError(
                f"{self.where}: the study cannot be read or written: {reason}"
            ) from None


def _journal(path: Path) -> JournalStorage:
    """The study in a file, without what a kill or a power cut has left: half a line, a lock."""
    remove(Path(f"{path}.lock"))
    if path.exists():
        whole = path.read_bytes()
        os.truncate(path, whole.rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(path)))


def _directions(objectives: int) -> list[StudyDirection]:
    return [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE][:objectives]
