"""The expected time of `dvc repro`, by stage: from measured training steps, and what stages do."""

from collections.abc import Callable
from dataclasses import dataclass

from imagetrail.cli.begin.look import Look
from imagetrail.cli.begin.speed import PRETRAINED, Network

FEW = 200  # test pictures: with fewer, an interval is over ten points wide
FOLDS = 5
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
class Plan:
    """What decides how long the pipeline takes."""

    model: str
    size: int
    channels: int
    thorough: bool

    @property
    def pretrained(self) -> bool:
        return self.model == PRETRAINED

    @property
    def batch_size(self) -> int:
        if self.pretrained:
            return 32
        return 256 if self.thorough else 128

    @property
    def repeat_to(self) -> int:
        if self.pretrained:  # the last layer alone learns, and soon
            return 1000
        return 10_000 if self.thorough else 4000

    @property
    def epochs(self) -> int:
        return 9 if self.pretrained else 12

    @property
    def forward(self) -> float:
        """How much less time an answer takes than a training step of the same picture."""
        return 1.2 if self.pretrained else 3.0

    @property
    def trials(self) -> int:
        return 16 if self.thorough else 8

    @property
    def rungs(self) -> tuple[int, ...]:
        return (1, 3, 9) if self.thorough else (1, 3)

    @property
    def seeds(self) -> int:
        return 5 if self.thorough else 3

    @property
    def searched(self) -> int:
        return 12_000 if self.thorough else 4000

    @property
    def compared(self) -> int:
        return 6000 if self.thorough else 2000

    @property
    def compared_epochs(self) -> int:
        return 5 if self.thorough else 3

    @property
    def remedied_epochs(self) -> int:
        return 2

    def valid(self, look: Look) -> float:
        return 0.2 if look.count < 2000 else 0.1

    def folds(self, look: Look) -> int:
        """Of a cross-validation, where a test set would say little."""
        few = not look.tested and self.test(look) < FEW
        return min(FOLDS, look.smallest) if few else 0  # a picture of each class in each fold

    def test(self, look: Look) -> int:
        return look.tested or round(0.2 * look.count)

    def train(self, look: Look) -> int:
        return round((look.count - self.test(look)) * (1 - self.valid(look)))

    def epoch(self, look: Look, limit: int | None = None, *, repeat_to: int | None = None) -> int:
        """Images of an epoch, from at most `limit` different ones."""
        used = max(1, min(self.train(look), limit or self.train(look)))
        least = min(self.repeat_to, self.repeat_to if repeat_to is None else repeat_to)
        return int(used * max(1, -(-least // used)))


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
        "train": plan.epochs * (plan.epoch(look) + valid / plan.forward) / own / cores**ALL_CORES,
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
    return float(plan.folds(look) * plan.epochs * max(0.8 * look.count, plan.repeat_to))


def _tuned(plan: Plan, look: Look, valid: int) -> float:
    """Images trained on, answers counted as what they cost beside; a third goes on at each rung."""
    each = plan.epoch(look, plan.searched) + valid / plan.forward
    epochs, before = 0.0, 0
    for step, rung in enumerate(plan.rungs):
        epochs += plan.trials / 3**step * (rung - before)
        before = rung
    return epochs * each


def _compared(plan: Plan, look: Look, valid: int, own: float, other: float) -> float:
    """Seconds of one core."""
    once = plan.epoch(look, plan.compared, repeat_to=plan.compared) + valid / plan.forward
    remedies = ARMS * plan.remedied_epochs * once / own
    again = max(once, FRESH) if plan.pretrained else once
    networks = plan.compared_epochs * (once / own + again / other)
    return plan.seeds * (remedies + networks)
