"""In which order an epoch reads images, how often those of each class, and what goes with each."""

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from imagetrail.base.errors import UserError
from imagetrail.base.rng import generator
from imagetrail.base.samples import CERTAINTY, WEIGHT, Samples

# A set of pictures up to this size is shuffled as a whole. Of a larger one, blocks in random order
# fill a window, and the window is shuffled. Constants, not a matter of the machine: they decide the
# order, and so the model.
WINDOW = 256 << 20  # bytes
BLOCK = 1 << 20  # bytes that lie together on disk


def plan(
    numbers: NDArray[np.int64],
    count: int,
    source: Samples,
    rng: np.random.Generator,
    exponent: float,
) -> NDArray[np.int64]:
    """`count` of the numbers in the order of reading: each once before any of its class again."""
    if exponent and count:
        return _shuffled(_drawn(numbers, count, source.labels, rng, exponent), source, rng)
    rounds = -(-count // len(numbers)) if count else 0
    drawn = [_shuffled(numbers, source, rng) for _ in range(rounds)]
    return np.concatenate([*drawn, np.empty(0, np.int64)])[:count].astype(np.int64)


def _shuffled(
    numbers: NDArray[np.int64], source: Samples, rng: np.random.Generator
) -> NDArray[np.int64]:
    if source.images.nbytes <= WINDOW:
        return rng.permutation(numbers)
    size = image_bytes(source)
    blocks = np.array_split(numbers, -(-len(numbers) * size // BLOCK))
    order = np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])
    for start in range(0, len(order), WINDOW // size):
        rng.shuffle(order[start : start + WINDOW // size])
    return order


def image_bytes(source: Samples) -> int:
    return int(np.prod(source.images.shape[1:]))


def _drawn(
    numbers: NDArray[np.int64],
    count: int,
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    exponent: float,
) -> NDArray[np.int64]:
    """`count` of the numbers, in order: each class by its frequency to the power of 1 − exponent.

    labels: by number. Each image comes once before any of its class comes again. Where a class's
    share is no whole number of images, an epoch has one more or less of it, at random.
    """
    classes, frequency = np.unique(labels[numbers], return_counts=True)
    wanted = frequency ** (1 - exponent)
    ends = np.cumsum(wanted)[:-1] * (count / wanted.sum())
    counts = np.diff(np.floor(np.concatenate([[0], ends, [count]]) + rng.random())).astype(int)
    drawn = [
        np.resize(rng.permutation(numbers[labels[numbers] == label]), many)
        for label, many in zip(classes, counts, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def mirrored(plan: NDArray[np.int64], count: int, epoch: int, seed: int) -> NDArray[np.bool_]:
    """Of the images of an epoch's plan, which are mirrored: each every other time that it comes.

    So an image is seen from both sides, where a draw anew gives many the same one several times:
    the alternating flip of airbench94 (arXiv:2404.00498). count: images of the source.
    """
    places = np.argsort(plan, kind="stable")
    first = np.flatnonzero(np.diff(plan[places], prepend=-1))
    earlier = np.empty(len(plan), np.int64)  # how often an image has come before in this epoch
    earlier[places] = np.arange(len(plan)) - np.repeat(first, np.diff(first, append=len(plan)))
    begun = generator(seed, "mirrored").integers(0, 2, count, np.int8)
    return np.asarray((begun[plan] + earlier + epoch) % 2 == 1)


def mean_weight(samples: Samples, numbers: NDArray[np.int64]) -> float:
    """Of those of these images that have one; 1 where none has. Raises UserError if all are 0."""
    if WEIGHT not in samples.index.column_names:
        return 1.0
    mean = pc.mean(samples.index[WEIGHT].take(numbers)).as_py()
    if mean == 0:
        raise UserError(f"the weights of all {len(numbers)} training images are 0")
    return 1.0 if mean is None else float(mean)


def weights(samples: Samples, numbers: NDArray[np.int64], unit: float) -> NDArray[np.float32]:
    """The weights of these images in units of their mean, `unit`; 1 of those that have none."""
    if WEIGHT not in samples.index.column_names:
        return np.ones(len(numbers), np.float32)
    found = samples.index[WEIGHT].take(numbers).fill_null(unit).to_numpy()
    return np.asarray(found / unit, np.float32)


def certainties(samples: Samples, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """How sure the labels of these images are; 1 of those of which nothing is said."""
    if CERTAINTY not in samples.index.column_names:
        return np.ones(len(numbers), np.float32)
    found = samples.index[CERTAINTY].take(numbers).fill_null(1.0).to_numpy()
    return np.asarray(found, np.float32)
