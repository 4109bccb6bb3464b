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

    from imagetrail.base.samples import Samples
    from imagetrail.training.state import Training

PRETRAINED = "efficientnet_lite0"
STEP = 3.0  # answers that a training step takes as long as
BATCH = 32  # images a step
ENOUGH = 0.5  # seconds of measuring, or MOST steps, whichever comes first
MOST = 6
SMALL = 64  # pixels: pictures that are no larger are taken as they are
MIDDLE = 96  # pixels, at which networks for larger ones are measured


@dataclass(frozen=True)
class Network:
    """What the time of a batch depends on."""

    model: str
    size: int  # pixels
    channels: int
    classes: int


def speeds(short: int) -> Callable[[Network], float]:
    """Answers a second and core, for pictures of `short` pixels; each network is measured once.

    At other sizes than MIDDLE it follows from that one: a batch nearly takes as long as it has
    pixels.
    """
    known = cache(measured)

    def speed(network: Network) -> float:
        if short <= SMALL:  # there is no other size
            return known(network)
        middle = known(replace(network, size=MIDDLE))
        return middle * float((MIDDLE / network.size) ** 1.8)

    return speed


def _random(network: Network) -> "Samples":
    """Pictures enough for the steps."""
    import numpy as np
    import pyarrow as pa

    from imagetrail.base.samples import Samples

    count = BATCH * (MOST + 2)
    shape = (count, network.size, network.size, network.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    classes = tuple(str(number) for number in range(network.classes))
    return Samples(images, pa.table({"label": np.arange(count) % network.classes}), classes)


def measured(network: Network) -> float:
    """Answers a second and core, on random pictures.

    PRETRAINED is measured as features are computed, others in training, a step as STEP answers.
    """
    import torch

    known = network.model == PRETRAINED
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        clock = []
        for _ in _answers(network) if known else _steps(network):
            clock.append(time.process_time())  # of one thread
            if len(clock) > MOST or (len(clock) > 1 and clock[-1] - clock[0] > ENOUGH):
                break
    finally:
        torch.set_num_threads(threads)
    best = min(later - earlier for earlier, later in pairwise(clock))
    return BATCH * (1 if known else STEP) / best


def _steps(network: Network) -> Iterator[object]:
    """Training, a step at a time."""
    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture

    images = _random(network)
    return loop.walk(_begun(network, images), Mixture(images), images)


def _answers(network: Network) -> Iterator[object]:
    """Features of a batch at a time."""
    from imagetrail.models import inference

    images = _random(network)
    model = _begun(network, images).outcome
    for chunk in range(MOST + 2):
        yield inference.features(model, images.part(_batch(chunk)))


def _begun(network: Network, images: "Samples") -> "Training":
    from imagetrail.training import loop
    from imagetrail.training.recipe import Recipe

    recipe = Recipe(model=network.model, epochs=1, activation="relu", lr=0.01, batch_size=BATCH)
    few = images.part(_batch(0))  # whose mean and deviation are computed
    return loop.start(recipe, few, seed=0)


def _batch(number: int) -> "NDArray[np.int64]":
    import numpy as np

    return np.arange(number * BATCH, (number + 1) * BATCH)
