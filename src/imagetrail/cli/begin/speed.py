"""How fast this machine trains: a few steps of each network that matters, on one core.

The clock is the process's own CPU time, of the best step: other work on the machine hardly counts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagetrail.base.samples import Samples

PRETRAINED = "efficientnet_lite0"  # of which the last layer alone learns
BATCH = 32  # images a step
ENOUGH = 0.5  # seconds of measuring, or MOST steps, whichever comes first
MOST = 6
SMALL = 64  # pixels: pictures that are no larger are taken as they are
MIDDLE = 96  # pixels, at which networks for larger ones are measured


@dataclass(frozen=True)
class Network:
    """What a step's time depends on."""

    model: str
    size: int  # pixels
    channels: int
    classes: int


def speeds(short: int) -> Callable[[Network], float]:
    """Images a second and core, for pictures of `short` pixels; each network is measured once.

    At other sizes than MIDDLE it follows from that one: a step takes as long as it has pixels.
    """
    known = cache(measured)

    def speed(network: Network) -> float:
        if short <= SMALL:  # there is no other size
            return known(network)
        middle = known(replace(network, size=MIDDLE))
        return middle * float((MIDDLE / network.size) ** 1.75)

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
    """Images a second and core, of whole training steps on random pictures."""
    import numpy as np
    import torch

    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture
    from imagetrail.training.recipe import Recipe

    images = _random(network)
    recipe = Recipe(
        model=network.model,
        activation="relu",
        epochs=1,
        batch_size=BATCH,
        lr=0.01,
        ema=0.9,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        few = images.part(np.arange(BATCH))  # whose mean and deviation are computed
        begun = loop.start(recipe, few, seed=0)
        clock = []
        for _ in loop.walk(begun, Mixture(images), images):
            clock.append(time.process_time())  # of one thread
            if len(clock) > MOST or (len(clock) > 1 and clock[-1] - clock[0] > ENOUGH):
                break
    finally:
        torch.set_num_threads(threads)
    return BATCH / min(later - earlier for earlier, later in pairwise(clock))
