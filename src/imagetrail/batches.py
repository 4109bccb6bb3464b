"""The data path of training: Samples on disk become shuffled, mixed and jittered batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagetrail.rng import derive, generator
from imagetrail.samples import Samples


@dataclass(frozen=True)
class Mixture:
    """Where an epoch's images come from. It has as many images as `real`, or a multiple of that, whatever the shares."""

    real: Samples
    others: tuple[tuple[Samples, float], ...] = ()  # (augmented or synthetic samples, share of an epoch)
    limit: int | None = None  # use the first so many of a seeded shuffle of the real images
    repeat_to: int = 0  # a smaller set is repeated until an epoch has at least so many images

    @property
    def _used(self) -> int:
        return min(self.limit or len(self.real), len(self.real))

    def __len__(self) -> int:
        return self._used * max(1, -(-self.repeat_to // self._used))

    def epoch(self, number: int, *, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (images n×H×W×C uint8, labels n int64) in an order that (seed, number) alone decides."""
        rng = generator(seed, "order", number)
        # shares are rounded down, so that shares of 1 in all fit
        drawn = [_draw(np.arange(len(other)), int(share * len(self) + 1e-9), rng) for other, share in self.others]
        drawn.insert(0, _draw(self._subset(seed), len(self) - sum(len(part) for part in drawn), rng))
        samples = [self.real, *(other for other, _ in self.others)]
        where = np.concatenate([np.full(len(part), i) for i, part in enumerate(drawn)])
        index = np.concatenate(drawn)
        order = rng.permutation(len(index))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            if len(chosen) > 1 or len(order) == 1:  # batch normalisation needs two
                yield _gather(samples, where[chosen], index[chosen])

    def _subset(self, seed: int) -> NDArray[np.int64]:
        return generator(seed, "subset").permutation(len(self.real))[: self._used]


def _draw(numbers: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`count` of the numbers: each once before any comes again, in random order; none if there are none."""
    if not len(numbers):
        return np.empty(0, np.int64)
    rounds = [rng.permutation(numbers) for _ in range(-(-count // len(numbers)))]
    return np.concatenate([*rounds, np.empty(0, np.int64)])[:count].astype(np.int64)


def _gather(samples: Sequence[Samples], where: NDArray[np.int64], index: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    images = np.empty((len(index), *samples[0].images.shape[1:]), np.uint8)
    labels = np.empty(len(index), np.int64)
    for number, part in enumerate(samples):
        mine = np.flatnonzero(where == number)
        images[mine] = part.images[index[mine]]
        labels[mine] = part.labels[index[mine]]
    return torch.from_numpy(images), torch.from_numpy(labels)


def jitter(images: Tensor, *, flip: bool, shift: int, seed: int) -> Tensor:
    """Each image of the batch mirrored left to right at even odds, and moved by up to `shift` pixels each way.

    images: n×H×W×C of any dtype. Pixels that move in repeat the border.
    """
    count, height, width = images.shape[:3]
    rng = torch.Generator().manual_seed(derive(seed, "jitter"))
    rows, columns = torch.arange(height).repeat(count, 1), torch.arange(width).repeat(count, 1)
    if flip:
        mirrored = torch.rand(count, generator=rng) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    if shift:
        moves = torch.randint(-shift, shift + 1, (2, count, 1), generator=rng)
        rows, columns = (rows + moves[0]).clamp(0, height - 1), (columns + moves[1]).clamp(0, width - 1)
    if not flip and not shift:
        return images
    return images[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def channel_statistics(samples: Samples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel in units of 0 … 255, in one pass over the images."""
    total = np.zeros(samples.images.shape[3])
    squares = total.copy()
    for chunk in samples.chunks():
        values = chunk.astype(np.float64)
        total += values.sum((0, 1, 2))
        squares += (values**2).sum((0, 1, 2))
    count = samples.images.size / samples.images.shape[3]
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1.0))  # at least one grey level, for a blank data set
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())
