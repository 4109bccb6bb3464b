"""The data path of training: Samples on disk become shuffled, mixed batches in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagetrail.base.rng import generator
from imagetrail.base.samples import Samples
from imagetrail.training import order
from imagetrail.training.recipe import Recipe


class Batch(NamedTuple):
    """Images of an epoch, in turn."""

    images: Tensor  # n×H×W×C uint8
    labels: Tensor  # n int64
    weights: Tensor  # n float32; 1 in the mean of the real images, and 1 of one that has none
    certainties: Tensor  # n float32, of the labels
    mirrored: Tensor  # n bool: in every other epoch, for training that flips


@dataclass(frozen=True)
class Mixture:
    """Where an epoch's images come from.

    It has as many images as `real`, or a multiple of that, whatever the shares.
    """

    real: Samples
    # (samples, share of an epoch); only of the classes of `real`
    others: tuple[tuple[Samples, float], ...] = ()
    limit: int | None = None  # use the first so many of a seeded shuffle of the real images
    repeat_to: int = 0  # a smaller set is repeated until an epoch has at least so many images
    # an image comes so often in a row, and an epoch has as many fewer different ones: augmented
    # anew each time, it lowers the noise of a step's gradient (arXiv:1901.09335, arXiv:1902.05509)
    repeats: int = 0  # 0: once
    # numbers of images that no epoch has: of `real`, then of each of the others; empty: none
    held_out: tuple[NDArray[np.int64], ...] = ()
    balance: float = 0.0  # classes of a source are drawn by their frequency to the power of 1 − it

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        real: Samples,
        others: tuple[tuple[Samples, float], ...] = (),
        limit: int | None = None,
        held_out: tuple[NDArray[np.int64], ...] = (),
    ) -> "Mixture":
        again = {field: getattr(recipe, field) for field in ("repeat_to", "repeats", "balance")}
        return cls(real, others, limit, held_out=held_out, **again)

    @property
    def _used(self) -> int:
        usable = len(self.real) - len(self._out(0))
        return min(self.limit or usable, usable)

    def __len__(self) -> int:
        return self._used * max(1, -(-self.repeat_to // self._used))

    def epoch(
        self,
        number: int,
        *,
        batch_size: int,
        seed: int,
        skip: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> Iterator[Batch]:
        """Yields batches by (seed, number) alone.

        skip: so many batches are left out at the beginning, to go on where a training stopped.
        rank, ranks: of each batch, read only the share of this process among so many.
        """
        where, plans = self._order(number, seed)
        mine = (np.arange(len(where)) % batch_size) % ranks == rank
        unit = order.mean_weight(self.real, self._drawn(seed))
        readers = []
        for place, (source, plan) in enumerate(plans):
            mirrored, ours = order.mirrored(plan, len(source), number, seed), mine[where == place]
            readers.append(_Reader(source, plan[ours], unit, mirrored[ours]))
        for start in range(0, len(where), batch_size):
            size = min(batch_size, len(where) - start)
            if size < 2 * ranks and len(where) > 1:  # batch normalisation needs two
                return
            batch = slice(start, start + batch_size)
            chosen = where[batch][mine[batch]]
            parts = np.bincount(chosen, minlength=len(readers))
            if start < skip * batch_size:
                for reader, count in zip(readers, parts, strict=True):
                    reader.skip(int(count))
            else:
                yield _gather(readers, chosen, parts)

    def shares(self, seed: int) -> NDArray[np.float32]:
        """Of each class of `real` its share of an epoch, by weight; none is quite 0."""
        found = np.zeros(len(self.real.classes))
        unit = order.mean_weight(self.real, self._drawn(seed))
        for source, plan in self._order(1, seed)[1]:
            weights = order.weights(source, plan, unit)
            found += np.bincount(source.labels[plan], weights, minlength=len(found))
        found = np.maximum(found, 1.0)
        return np.asarray(found / found.sum(), np.float32)

    def _order(
        self, number: int, seed: int
    ) -> tuple[NDArray[np.int8], list[tuple[Samples, NDArray[np.int64]]]]:
        """Which source each image of an epoch is of; and of each source which images, in turn."""
        rng = generator(seed, "order", number)
        sources = [self.real, *(other for other, _ in self.others)]
        numbers = [self._numbers(place, source, seed) for place, source in enumerate(sources)]
        repeats = max(1, self.repeats)
        different = -(-len(self) // repeats)
        # shares are rounded down, so that shares of 1 in all fit
        counts = [
            int(share * different + 1e-9) if len(some) else 0
            for some, (_, share) in zip(numbers[1:], self.others, strict=True)
        ]
        counts.insert(0, different - sum(counts))
        plans = [
            order.plan(some, count, source, rng, self.balance)
            for source, some, count in zip(sources, numbers, counts, strict=True)
        ]
        where = rng.permutation(np.repeat(np.arange(len(sources), dtype=np.int8), counts))
        where = where.repeat(repeats)[: len(self)]
        return where, [
            (source, plan.repeat(repeats)[: (where == i).sum()])
            for i, (source, plan) in enumerate(zip(sources, plans, strict=True))
        ]

    def _numbers(self, place: int, source: Samples, seed: int) -> NDArray[np.int64]:
        """Which images may be drawn of the source at this place: `real` is at 0."""
        if source is self.real:
            return self._drawn(seed)
        usable = source.labels < len(self.real.classes)
        if self._used < len(self.real) - len(self._out(0)):
            # a new version of an image left out would bring that image back
            ids, parents = self.real.index["id"].take(self._drawn(seed)), source.index["parent"]
            known = pc.is_in(parents, ids.combine_chunks())
            usable &= pc.or_(pc.is_null(parents), known).to_numpy()
        usable[self._out(place)] = False
        return np.flatnonzero(usable)

    def _drawn(self, seed: int) -> NDArray[np.int64]:
        usable = np.delete(np.arange(len(self.real)), self._out(0))
        if self._used == len(usable):
            return usable
        return np.sort(usable[generator(seed, "subset").permutation(len(usable))[: self._used]])

    def _out(self, place: int) -> NDArray[np.int64]:
        return self.held_out[place] if self.held_out else np.empty(0, np.int64)


class _Reader:
    """Takes images in the order of a plan; of a large set it holds one window at a time."""

    def __init__(
        self, samples: Samples, plan: NDArray[np.int64], unit: float, mirrored: NDArray[np.bool_]
    ) -> None:
        self.samples, self.plan, self.mirrored, self.at = samples, plan, mirrored, 0
        self.weights = order.weights(samples, plan, unit)
        self.certainties = order.certainties(samples, plan)
        self.size = order.WINDOW // max(order.image_bytes(samples), 1)
        self.held = range(0)  # the part of the plan that is in the window
        self.window, self.place = samples.images[:0], plan[:0]

    def skip(self, count: int) -> None:
        self.at += count

    def take(self, count: int) -> tuple[NDArray[Any], ...]:
        """So many of a Batch, as arrays."""
        parts, end = [], self.at + count
        labels = self.samples.labels[self.plan[self.at : end]]
        known = self.weights, self.certainties, self.mirrored
        facts = tuple(column[self.at : end] for column in known)
        while self.at < end:
            stop = end
            if self.samples.images.nbytes <= order.WINDOW:
                parts.append(self.samples.images[self.plan[self.at : stop]])
            else:
                self._load()
                first, stop = self.held.start, min(end, self.held.stop)
                parts.append(self.window[self.place[self.at - first : stop - first]])
            self.at = stop
        images = parts[0] if len(parts) == 1 else np.concatenate([*parts, self.window[:0]])
        return images, labels, *facts

    def _load(self) -> None:
        if self.at in self.held:
            return
        start = self.at // self.size * self.size
        self.held = range(start, min(start + self.size, len(self.plan)))
        numbers = self.plan[start : self.held.stop]
        order = np.argsort(numbers, kind="stable")  # read from front to back
        self.window = self.samples.images[:0]  # the old one goes before the new one comes
        self.window = self.samples.gather(numbers[order])
        self.place = np.argsort(order, kind="stable")


def _gather(readers: list[_Reader], chosen: NDArray[np.int8], parts: NDArray[np.int64]) -> Batch:
    taken = [reader.take(int(count)) for reader, count in zip(readers, parts, strict=True)]
    if np.count_nonzero(parts) == 1:
        columns = taken[int(parts.argmax())]
    else:
        columns = tuple(
            np.empty((len(chosen), *column.shape[1:]), column.dtype) for column in taken[0]
        )
        for number, some in enumerate(taken):
            for column, values in zip(columns, some, strict=True):
                column[chosen == number] = values
    return Batch(*map(torch.from_numpy, columns))


def channel_statistics(
    samples: Samples, *, most: int = 20_000
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, in units of 0 … 255.

    They are of at most `most` images, spread over the set.
    """
    numbers = np.arange(0, len(samples), -(-len(samples) // most))
    total = np.zeros(samples.images.shape[3])
    squares, count = total.copy(), 0
    for start in range(0, len(numbers), 256):
        values = samples.gather(numbers[start : start + 256]).astype(np.float64)
        total += values.sum((0, 1, 2))
        squares += (values**2).sum((0, 1, 2))
        count += values.size // values.shape[3]
    mean = total / count
    variance = squares / count - mean**2
    std = np.sqrt(np.maximum(variance, 1.0))  # at least one grey level, for a blank data set
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())
