"""How fast this machine is: a few batches through each network that matters, on one core.

The clock is the process's own CPU time, of the best step: other work on the machine hardly counts.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from imagetrail.base.samples import Samples
    from imagetrail.training.state import Training

PRETRAINED = "efficientnet_lite0"
CROWDED = "airbench"  # where small photos are many
STEP = 3.0  # answers that a training step takes as long as
BATCH, SMALL_BATCH = 32, 128  # images a step; of small pictures, of which it takes more
ENOUGH = 0.5  # seconds of measuring, or MOST steps, whichever comes first
MOST = 6
SMALL = 64  # pixels: pictures that are no larger are taken as they are
SIDES = (96, 192)  # pixels, at which networks for larger ones are measured
SOLVING = 200  # times that a solved head goes over its rows
DECAY = 0.8  # recipe.layer_decay of what is fine-tuned

# What a network does: it learns from nothing, makes features for a head that is solved on them,
# answers as the exported one does, or is fine-tuned. A second of it has so many pictures; of
# LEARN thrice as many, of SOLVE so many rows of a head.
LEARN, FEATURES, ANSWER, TUNE, SOLVE = "learn", "features", "answer", "tune", "solve"


@dataclass(frozen=True)
class Network:
    """What the time of a batch depends on."""

    model: str
    size: int  # pixels that it sees
    channels: int
    classes: int
    work: str = LEARN

    @property
    def batch(self) -> int:
        """Images a step."""
        return SMALL_BATCH if self.size <= SMALL and self.model != PRETRAINED else BATCH


def speeds(short: int) -> Callable[[Network], float]:
    """Work a second and core, for pictures of `short` pixels; each network is measured once.

    At other sizes than SIDES it follows from these: a step takes a time of its own, and as long as
    it has pixels.
    """
    known = cache(measured)

    def speed(network: Network) -> float:
        if short <= SMALL and network.model != PRETRAINED:  # there is no other size
            return known(network)
        if network.work == SOLVE:
            return known(replace(network, size=SIDES[0]))
        small, large = (1 / known(replace(network, size=side)) for side in SIDES)
        each = (large - small) / (SIDES[1] ** 2 - SIDES[0] ** 2)
        # the smallest of these networks' pictures have a ninth of the pixels
        return 1 / max(small + each * (network.size**2 - SIDES[0] ** 2), small / 9)

    return speed


def _random(network: Network) -> "Samples":
    """Pictures enough for the steps."""
    import numpy as np
    import pyarrow as pa

    from imagetrail.base.samples import Samples

    count = network.batch * (MOST + 2)
    shape = (count, network.size, network.size, network.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    classes = tuple(str(number) for number in range(network.classes))
    return Samples(images, pa.table({"label": np.arange(count) % network.classes}), classes)


def measured(network: Network) -> float:
    """Work a second and core, on random pictures."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        clock = []
        for _ in WORK[network.work](network):
            clock.append(time.process_time())  # of one thread
            if len(clock) > MOST or (len(clock) > 1 and clock[-1] - clock[0] > ENOUGH):
                break
    finally:
        torch.set_num_threads(threads)
    best = min(later - earlier for earlier, later in pairwise(clock))
    return network.batch * (STEP if network.work == LEARN else 1.0) / best


def _learning(network: Network) -> Iterator[object]:
    """Training from nothing, a step at a time."""
    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture

    images = _random(network)
    return loop.walk(_begun(network, images), Mixture(images), images)


def _tuning(network: Network) -> Iterator[object]:
    """Fine-tuning, a step at a time."""
    from imagetrail.models.weights import trunk_weights
    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture

    images = _random(network)
    known = trunk_weights(_begun(network, images).model)
    training = _begun(network, images, pretrained=known)
    training.step = 1  # else the head would be solved first
    return loop.walk(training, Mixture(images), images)


def _features(network: Network) -> Iterator[object]:
    """A batch at a time, as they are kept."""
    import torch

    from imagetrail.models.folded import folded

    images = _random(network)
    begun = _begun(network, images)
    trunk = folded(begun.model.trunk)
    for chunk in images.chunks(network.batch):
        with torch.no_grad(), begun.machine.autocast():
            yield trunk(begun.model.normal(torch.from_numpy(chunk).to(begun.machine.device)))


def _answers(network: Network) -> Iterator[object]:
    """A batch at a time."""
    from imagetrail.models import inference

    images = _random(network)
    model = _begun(network, images).outcome
    for number in range(MOST + 2):
        yield inference.predict(model, images.part(_batch(network, number)), exact=True)


def _solving(network: Network) -> Iterator[object]:
    """A batch's share of solving a head at a time, on features of noise."""
    import torch

    from imagetrail.training.heads import Rows, cross_entropy

    model = _begun(network, _random(network)).model
    width = next(weight.shape[1] for weight in model.head.parameters() if weight.ndim == 2)
    labels = torch.arange(network.batch) % network.classes
    rows = Rows.of(torch.randn(len(labels), width).half(), labels, torch.ones(len(labels)))
    head = torch.zeros(network.classes, width + 1)
    while True:
        yield [cross_entropy(head, rows, 0.0) for _ in range(SOLVING)]


WORK: dict[str, Callable[[Network], Iterator[object]]] = {
    LEARN: _learning,
    TUNE: _tuning,
    FEATURES: _features,
    ANSWER: _answers,
    SOLVE: _solving,
}


def _begun(
    network: Network, images: "Samples", *, pretrained: "dict[str, Tensor] | None" = None
) -> "Training":
    from imagetrail.training import loop
    from imagetrail.training.recipe import Recipe

    recipe = Recipe(
        model=network.model,
        enlarge=1,
        epochs=1,
        activation="relu",
        optimiser="adamw" if network.work == TUNE else "muon",
        lr=0.01,
        batch_size=network.batch,
        layer_decay=DECAY,
        ema=0.9,
    )
    few = images.part(_batch(network, 0))  # whose mean and deviation are computed
    return loop.start(recipe, few, seed=0, pretrained=pretrained)


def _batch(network: Network, number: int) -> "NDArray[np.int64]":
    import numpy as np

    return np.arange(number * network.batch, (number + 1) * network.batch)
