"""The expected time of `dvc repro`, by stage: from measured training steps, and what stages do."""

from collections.abc import Callable
from dataclasses import dataclass

from imagetrail.cli.begin.look import Look
from imagetrail.cli.begin.plans import REMEDIED, Plan
from imagetrail.cli.begin.speed import Network

AUDIT = {"folds": 5, "epochs": 2, "images": 60_000}  # as params.yaml has it
AUDITED = 10_000  # images of an epoch of audit, at least
FRESH = 2000  # images of an epoch, at least, of a network that knows nothing
START = 3.0  # seconds a stage takes beside its work: Python, DVC's hashes, MLflow
WORKERS = 6.0  # seconds until all worker processes have loaded torch
ALL_CORES = 0.75  # power of the number of cores by which one training on all of them is faster
ARMS = 4  # real, augmented, synthetic and all
CORRUPTIONS, MAPS = 15, 240  # passes over a picture in `evaluate` and `explain`
ANSWERS = 4  # passes over test and validation in `export`
TIMED = 16_000  # answers in `export` beside: calibration, and what each file takes
AUGMENTED = 40_000_000.0  # pixels a second and core
SYNTHESISED = 4_000_000.0


@dataclass(frozen=True)
class Machine:
    """What was measured of it."""

    cores: int
    decoding: float  # seconds a picture, on all cores
    speed: Callable[[Network], float]  # images of training steps a second and core


def seconds(plan: Plan, look: Look, machine: Machine) -> dict[str, float]:
    """Seconds by stage."""
    cores = machine.cores
    classes = len(look.classes)

    def rate(model: str) -> float:
        return machine.speed(Network(model, plan.size, plan.channels, classes))

    own = rate(plan.model)
    other = rate("fast" if plan.pretrained else "resnet")
    test, train = plan.test(look), plan.train(look)
    valid = round((look.count - test) * plan.valid(look))
    pixels = train * plan.size**2 * plan.channels
    shown = classes * max(1, min(4, 40 // classes))
    work = {
        "fetch": 0.0,
        "inspect": look.count * machine.decoding,
        "split": look.count * machine.decoding,
        "audit": WORKERS + _audited(plan, look) / (2 * rate("fast")) / cores,
        "augment": WORKERS / 2 + pixels / AUGMENTED / cores,
        "synthesise": WORKERS / 2 + min(pixels, 2e8) / SYNTHESISED / cores,
        "pretrain": 0.0,
        "tune": WORKERS + _tuned(plan, look, valid) / own / cores,
        "compare": WORKERS + _compared(plan, look, valid, own, other) / cores,
        "train": plan.effort.epochs
        * (plan.epoch(look) + valid / plan.forward)
        / own
        / cores**ALL_CORES,
        "crossvalidate": _crossed(plan, look) / own / cores,
        "evaluate": (test * 3 + valid + min(test, 2000) * CORRUPTIONS)
        / plan.forward
        / own
        / cores**ALL_CORES,
        "explain": shown * MAPS / plan.forward / own / cores**ALL_CORES,
        "export": 5.0 + (TIMED + (test + valid) * ANSWERS) / plan.forward / own,
        "gate": test / plan.forward / own,
        "report": 0.0,
    }
    return {stage: START + time for stage, time in work.items()}


def _audited(plan: Plan, look: Look) -> float:
    """Images that the small networks of audit, half as wide as `fast`, are trained on."""
    kept = round(plan.train(look) * (1 - 1 / AUDIT["folds"]))
    used = max(1, min(kept, AUDIT["images"]))
    return float(AUDIT["folds"] * AUDIT["epochs"] * used * -(-max(used, AUDITED) // used))


def _crossed(plan: Plan, look: Look) -> float:
    return float(
        plan.folds(look) * plan.effort.epochs * max(0.8 * look.count, plan.effort.repeat_to)
    )


def _tuned(plan: Plan, look: Look, valid: int) -> float:
    """Images trained on, answers counted as what they cost beside; a third goes on at each rung."""
    each = plan.epoch(look, plan.effort.searched) + valid / plan.forward
    epochs, before = 0.0, 0
    for step, rung in enumerate(plan.effort.rungs):
        epochs += plan.effort.trials / 3**step * (rung - before)
        before = rung
    return epochs * each


def _compared(plan: Plan, look: Look, valid: int, own: float, other: float) -> float:
    """Seconds of one core."""
    effort = plan.effort
    once = plan.epoch(look, effort.compared, repeat_to=effort.compared) + valid / plan.forward
    remedies = ARMS * REMEDIED * once / own
    again = max(once, FRESH) if plan.pretrained else once
    networks = effort.compared_epochs * (once / own + again / other)
    return effort.seeds * (remedies + networks)
