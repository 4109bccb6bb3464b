"""The expected time of `dvc repro`, by stage: from measured training steps, and what stages do."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from imagetrail.cli.begin.counts import looked
from imagetrail.cli.begin.learning import Rate, learning, rows, weighing
from imagetrail.cli.begin.look import Look
from imagetrail.cli.begin.plans import Plan
from imagetrail.cli.begin.speed import ANSWER, FEATURES, LEARN, SOLVE, STEP, Network

AUDIT = {"folds": 5, "epochs": 2, "images": 60_000}  # as params.yaml has it
AUDITED = 10_000  # images of an epoch of audit, at least
START = 3.0  # seconds a stage takes beside its work: Python, DVC's hashes, MLflow
WORKERS = 6.0  # seconds until all worker processes have loaded torch
ALL_CORES = 0.75  # power of the number of cores by which one training on all of them is faster
CORRUPTIONS = 21  # passes over a picture in `evaluate`
MAPS, TRIED = 140, 300  # the same in `explain`: one that is shown, one that maps are tried on
ANSWERS = 3  # passes over test and validation in `export`
TIMED = 4000  # answers in `export` beside: calibration, and what each file takes
AUGMENTED = 40_000_000.0  # pixels a second and core
JUDGED = (0.9, 0.9, 0.45, 0.45)  # shares of train that the networks judging new images learn from


@dataclass(frozen=True)
class Machine:
    """What was measured of it."""

    cores: int
    decoding: float  # seconds a picture, on all cores
    speed: Callable[[Network], float]  # what a network does a second and core


def seconds(plan: Plan, look: Look, machine: Machine) -> dict[str, float]:
    """Seconds by stage."""
    cores = machine.cores
    classes = len(look.classes)

    def rate(model: str, work: str) -> float:
        size = plan.size * plan.factor if model == plan.model else plan.size
        return machine.speed(Network(model, size, plan.channels, classes, work))

    answers = rate(plan.model, ANSWER)
    together = answers * cores**ALL_CORES  # of one process that has all cores
    costs = learning(plan, look, rate)
    test, valid, train = plan.test(look), plan.valid(look), plan.train(look)
    pixels = train * plan.size**2 * plan.channels
    maps, tried = looked(look, plan)
    work = {
        "fetch": 0.0,
        "inspect": look.count * machine.decoding,
        "split": look.count * machine.decoding,
        "weights": 0.0,
        "pretrain": 0.0,
        "audit": WORKERS + _audited(plan, look, rate) / cores,
        "augment": WORKERS / 2 + pixels / AUGMENTED / cores,
        "synthesise": 0.0 if plan.pretrained else _synthesised(train, rate) / cores**ALL_CORES,
        "tune": WORKERS + costs.tune / cores,
        "compare": WORKERS + costs.compare / cores,
        "train": costs.train / cores**ALL_CORES,
        "crossvalidate": costs.crossvalidate / cores,
        "evaluate": (test * 2 + valid + min(test, 2000) * CORRUPTIONS) / together,
        "explain": (min(classes, 10) * maps * MAPS + tried * TRIED) / together,
        "export": 5.0 + (TIMED + (test + valid) * ANSWERS) / answers,
        "gate": test / answers,
        "report": 0.0,
    }
    return {stage: START + time for stage, time in work.items()}


def _audited(plan: Plan, look: Look, rate: Rate) -> float:
    """Seconds of one core."""
    folds, epochs = AUDIT["folds"], AUDIT["epochs"]
    kept = round(plan.train(look) * (1 - 1 / folds))
    used = max(1, min(kept, AUDIT["images"]))
    if plan.pretrained:
        views = look.count + folds * (epochs - 1) * used
        solved = folds * (rows(epochs) * used + weighing(used))
        return views / rate(plan.model, FEATURES) + solved / rate(plan.model, SOLVE)
    return STEP * folds * epochs * used * -(-max(used, AUDITED) // used) / _quick(rate)


def _synthesised(train: int, rate: Rate) -> float:
    """Seconds of one core to judge the images: by networks that are trained on them."""
    used = [max(1.0, min(share * train, 10_000)) for share in JUDGED]
    return STEP * 3 * sum(some * math.ceil(5000 / some) for some in used) / _quick(rate)


def _quick(rate: Rate) -> float:
    return 2 * rate("fast", LEARN)  # at half its width
