"""What trainings cost: of a network that knows nothing, and of one that knows ImageNet.

The first learns by steps. The other goes over each picture once, and its features are kept: what
then takes time is to solve heads, and to fine-tune, which is tried, and rarely proves its worth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from imagetrail.cli.begin.look import Look
from imagetrail.cli.begin.plans import REMEDIED, Plan
from imagetrail.cli.begin.speed import FEATURES, LEARN, SOLVE, STEP, TUNE

FRESH_ARMS = 4  # of remedies: real, augmented, synthetic and all
FROZEN_ARMS, SOLVED_ARMS = 2, 3  # real and augmented; and plain views, whose features are known
BLENDS = 5  # answers to valid after an epoch of fine-tuning
CHOSEN, TRIED = 5, 1000  # solved heads of so many rows that the weight of maps takes as long as
Rate = Callable[[str, str], float]  # of a network at some work: so much a second and core
GOES_ON, OFTEN = 1 / 3, 0.6  # share of the trials, at each rung; of heads, which are often equal


@dataclass(frozen=True)
class Learning:
    """Seconds of one core, by stage."""

    tune: float
    compare: float
    train: float
    crossvalidate: float


def learning(plan: Plan, look: Look, rate: Rate) -> Learning:
    return (_known if plan.pretrained else _fresh)(plan, look, rate)


def _fresh(plan: Plan, look: Look, rate: Rate) -> Learning:
    answers, others = rate(plan.model, LEARN), rate("resnet", LEARN)
    effort, valid = plan.effort, plan.valid(look)
    searched = STEP * plan.epoch(look, effort.searched) + valid
    once = STEP * plan.epoch(look, effort.compared, repeat_to=effort.compared) + valid
    remedies = FRESH_ARMS * REMEDIED * once / answers
    networks = effort.compared_epochs * once * (1 / answers + 1 / others)
    return Learning(
        tune=_epochs(plan) * searched / answers,
        compare=effort.seeds * (remedies + networks),
        train=effort.epochs * (STEP * plan.epoch(look) + valid) / answers,
        crossvalidate=STEP * _crossed(plan, look) / answers,
    )


def _known(plan: Plan, look: Look, rate: Rate) -> Learning:
    """With the network as it came in the final training. Audit has seen each picture once."""
    features, tuned, solved = (rate(plan.model, work) for work in (FEATURES, TUNE, SOLVE))
    effort, valid = plan.effort, plan.valid(look)
    used = min(plan.train(look), effort.searched)
    compared = plan.epoch(look, effort.compared, repeat_to=effort.compared)
    epochs, train = effort.compared_epochs, plan.train(look)
    views = FROZEN_ARMS * (epochs - 1) * compared
    heads = (SOLVED_ARMS * rows(epochs) + epochs) * compared
    stepping = epochs * (compared / tuned + BLENDS * valid / features)
    heads += (SOLVED_ARMS + 1) * weighing(train)
    searched = _epochs(plan, rows, OFTEN) * used
    searched += effort.trials * len(effort.rungs) * weighing(train)
    crossed = _crossed(plan, look)
    folded = crossed * rows(effort.epochs) / effort.epochs + plan.folds(look) * weighing(train)
    return Learning(
        tune=(effort.rungs[-1] - 1) * used / features + searched / solved,
        compare=effort.seeds * (views / features + heads / solved + stepping),
        train=(effort.epochs - 1) * train / features
        + (rows(effort.epochs) * train + weighing(train)) / solved,
        crossvalidate=crossed / features + folded / solved,
    )


def weighing(pictures: int) -> int:
    """Rows that a head goes over before it is known how much coarse maps count."""
    return CHOSEN * min(TRIED, pictures)


def rows(views: int) -> int:
    """How often a picture is among the rows of all heads, each view having one of all before it."""
    return views * (views + 1) // 2


def _epochs(plan: Plan, cost: Callable[[int], float] = float, going_on: float = GOES_ON) -> float:
    """Those of a search in all. cost: of one trial, by its epochs."""
    spent = 0.0
    for step, (before, rung) in enumerate(pairwise((0, *plan.effort.rungs))):
        spent += plan.effort.trials * going_on**step * (cost(rung) - cost(before))
    return spent


def _crossed(plan: Plan, look: Look) -> float:
    """Images that the trainings of a cross-validation take."""
    least = plan.effort.repeat_to
    return plan.folds(look) * plan.effort.epochs * max(0.8 * look.count, least)
