"""What trainings cost: of a network that knows nothing, and of one that knows ImageNet.

The first learns by steps. The other goes over each picture once, and its features are kept: what
then takes time is to solve heads, and to fine-tune, which is tried and may prove its worth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from imagetrail.cli.begin.look import Look
from imagetrail.cli.begin.plans import REMEDIED, Plan
from imagetrail.cli.begin.speed import STEP

FRESH_ARMS = 4  # of remedies: real, augmented, synthetic and all
FROZEN_ARMS, TUNED_ARMS = 2, 1  # real and augmented; fine-tuned. Plain views cost next to nothing
TUNED = 4.0  # answers that a step of fine-tuning takes as long as, in batches of 32
GOES_ON = 1 / 3  # share of the trials, at each rung
HEAD = 2.5e-4  # seconds of a core to solve a head, a row


@dataclass(frozen=True)
class Learning:
    """Seconds of one core, by stage."""

    tune: float
    compare: float
    train: float
    crossvalidate: float


def learning(plan: Plan, look: Look, rate: Callable[[str], float]) -> Learning:
    """rate: answers that a network gives in a second and core."""
    return (_known if plan.pretrained else _fresh)(plan, look, rate)


def _fresh(plan: Plan, look: Look, rate: Callable[[str], float]) -> Learning:
    answers, others = rate(plan.model), rate("resnet")
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


def _known(plan: Plan, look: Look, rate: Callable[[str], float]) -> Learning:
    """With fine-tuning in the final training, as it may be."""
    answers = rate(plan.model)
    effort, valid = plan.effort, plan.valid(look)
    used = min(plan.train(look), effort.searched)
    compared = plan.epoch(look, effort.compared, repeat_to=effort.compared)
    tuned = TUNED * compared + valid
    frozen = effort.compared_epochs * compared
    features = FROZEN_ARMS * frozen + TUNED_ARMS * effort.compared_epochs * tuned
    return Learning(
        tune=(effort.rungs[-1] * used + valid) / answers + _epochs(plan, rows) * used * HEAD,
        compare=effort.seeds
        * (features / answers + FROZEN_ARMS * rows(effort.compared_epochs) * compared * HEAD),
        train=effort.epochs * (TUNED * plan.epoch(look) + valid) / answers,
        crossvalidate=TUNED * _crossed(plan, look) / answers,
    )


def rows(views: int) -> int:
    """How often a picture is among the rows of all heads, each view having one of all before it."""
    return views * (views + 1) // 2


def _epochs(plan: Plan, cost: Callable[[int], float] = float) -> float:
    """Those of a search in all. cost: of one trial, by its epochs."""
    spent = 0.0
    for step, (before, rung) in enumerate(pairwise((0, *plan.effort.rungs))):
        spent += plan.effort.trials * GOES_ON**step * (cost(rung) - cost(before))
    return spent


def _crossed(plan: Plan, look: Look) -> float:
    """Images that the trainings of a cross-validation take."""
    least = plan.effort.repeat_to
    return plan.folds(look) * plan.effort.epochs * max(0.8 * look.count, least)
