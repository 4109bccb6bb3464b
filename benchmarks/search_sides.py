"""The sides that search.py compares, and the data and the space on which they all search."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna  # noqa: TID251  it is the peer
from harness import load

from imagetrail.base.params import check
from imagetrail.base.samples import Samples, make_index
from imagetrail.stages.tune.params import Tune
from imagetrail.stages.tune.search import Leg, Report, search
from imagetrail.stages.tune.space import Space, typed
from imagetrail.stages.tune.study import draw
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.loop import Diverged
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training

RUNGS = [1, 3, 9, 27]
EPOCHS = RUNGS[-1]  # of a trial
BUDGET = 24 * EPOCHS  # of a search
IMAGES, VALID = 600, 1500
RECIPE = Recipe(model="fast", activation="relu", width=0.25, epochs=EPOCHS, lr=0.1, ema=0.97)
KNOWN = {
    "batch_size": 64,
    "optimiser": "muon",
    "lr": 0.1,
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "flip": True,
    "shift": 1,
}
SPACE: dict[str, Any] = {  # two powers of ten around what is usual for each optimiser
    "activation": ["relu", "leaky_relu", "silu", "gelu", "elu", "tanh", "sigmoid", "softsign"],
    "optimiser": ["muon", "adamw", "sgd"],
    "lr": {
        "by": "optimiser",
        "muon": {"low": 0.005, "high": 0.5, "log": True},
        "adamw": {"low": 0.0003, "high": 0.03, "log": True},
        "sgd": {"low": 0.003, "high": 0.3, "log": True},
    },
    "batch_size": {"low": 64, "high": 512, "log": True},
    "weight_decay": {"low": 0.001, "high": 0.3, "log": True},
    "label_smoothing": {"low": 0.0, "high": 0.2},
    "dropout": {"low": 0.0, "high": 0.5},
    "flip": [True, False],
    "shift": {"low": 0, "high": 3},
}


@cache
def data(name: str, images: int = IMAGES) -> tuple[Samples, Samples]:
    """A few images to train on and others to judge by, all from the train set."""
    whole, _ = load(name)
    order = np.random.default_rng(0).permutation(len(whole))

    def part(numbers: Any) -> Samples:
        ids = [str(number) for number in numbers]
        index = make_index(ids=ids, labels=whole.labels[numbers], origin="real", sources=ids)
        return Samples(whole.images[numbers], index, whole.classes)

    return part(order[:images]), part(order[images : images + VALID])


class Trainings:
    """Trains recipes, each on from where it stands; notes the best score after each epoch spent."""

    def __init__(self, seed: int) -> None:
        self.seed, self.begun, self.best = seed, dict[int, Training](), list[float]()

    def advance(self, number: int, values: dict[str, Any], until: int) -> Iterator[float]:
        train, valid = data("fashion-mnist")
        if number not in self.begun:
            self.begun[number] = loop.start(RECIPE.model_copy(update=values), train, seed=self.seed)
        for epoch in loop.fit(self.begun[number], Mixture(train), valid, until=until):
            self.best.append(max([epoch.valid_top1, *self.best[-1:]]))
            yield epoch.valid_top1


def ours(seed: int, known: Sequence[dict[str, Any]] = (), budget: int = BUDGET) -> list[float]:
    trainings = Trainings(seed)

    def run(legs: Sequence[Leg]) -> Iterator[Report]:
        for leg in legs:
            try:
                yield Report([*trainings.advance(leg.number, leg.values, leg.until)][-1])
            except Diverged:
                yield Report(None)

    tune = Tune(
        trials=BUDGET,
        batch=4,
        rungs=RUNGS,
        epochs=budget,
        images=None,
        space=space(),
        known=list(known),
    )
    with tempfile.TemporaryDirectory() as folder:
        list(search(tune, run, seed=seed, folder=Path(folder)))
    return trainings.best[:budget]


def aided(seed: int) -> list[float]:
    base = {field: getattr(RECIPE, field) for field in SPACE}
    return ours(seed, [base | KNOWN], BUDGET // 2)


def space() -> Space:
    return typed(check(Space, SPACE, "space"), RECIPE, "space")


def plain(
    seed: int, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
) -> list[float]:
    trainings, searched = Trainings(seed), space()

    def objective(trial: optuna.Trial) -> float:
        score = 0.0
        try:
            for number, score in enumerate(
                trainings.advance(trial.number, draw(trial, searched), EPOCHS), start=1
            ):
                trial.report(score, number)
                if len(trainings.best) >= BUDGET:
                    trial.study.stop()
                    break
                if trial.should_prune():
                    raise optuna.TrialPruned
        except Diverged:
            raise optuna.TrialPruned from None
        return score

    optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner).optimize(objective)
    return trainings.best


def chance(seed: int) -> list[float]:
    return plain(seed, optuna.samplers.RandomSampler(seed=seed), optuna.pruners.NopPruner())


def default(seed: int) -> list[float]:
    return plain(seed, optuna.samplers.TPESampler(seed=seed), optuna.pruners.MedianPruner())


SIDES = {"random": chance, "default": default, "ours": ours, "aided": aided}
