"""A data set as it arrived: labels at hand, pictures decoded when asked for."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagetrail.data.decoding import Facts, Target, Unreadable, fit

AHEAD = 512  # results of work on all cores that may wait to be taken, at most
WAITING = 64 << 20  # bytes of decoded pictures that may

T = TypeVar("T")
R = TypeVar("R")
Examined = tuple[NDArray[np.uint8], Facts]  # H×W×C, and what its file is


def nothing() -> None:
    """Done where nothing is to be done."""


def ahead(target: Target) -> int:
    """How many pictures of `target` may be decoded before they are taken."""
    return min(AHEAD, max(32, WAITING // math.prod(target.shape)))


def on_all_cores(work: Callable[[T], R], items: Iterable[T], *, ahead: int = AHEAD) -> Iterator[R]:
    """`work` of every item, in order, done on all cores; at most `ahead` results wait."""
    pool = ThreadPoolExecutor()
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Pictures:
    """A data set as it arrived; every sequence has an entry a picture."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]  # positions in `classes`
    splits: tuple[str, ...]  # train, valid or test as published; "" of all where nothing is
    sources: tuple[str, ...]  # path from the top of the data set, with /, or file#row
    read: Callable[[int, Target], Examined]  # raises Unreadable
    ignored: tuple[tuple[str, str], ...] = ()  # (source, reason) of what is no picture
    notes: tuple[str, ...] = ()  # what a user should know of how they were taken, a line each
    groups: tuple[str, ...] = ()  # of one patient, part or scene; "": of none; empty: no groups
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # the user's own
    # what alone decides what `read` gives: a file or its bytes; None: pixels are at hand
    content: Callable[[int], Path | bytes] | None = None
    tidy: Callable[[], None] = nothing  # to be called when all have been read and are good

    def __post_init__(self) -> None:
        assert all(self.splits) or not any(self.splits), "published of all or of none"

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: Sequence[int]) -> "Pictures":
        """Pictures number `which` alone, in that order."""

        def read(i: int, target: Target) -> Examined:
            return self.read(which[i], target)

        def content(i: int) -> Path | bytes:
            assert self.content is not None
            return self.content(which[i])

        return replace(
            self,
            labels=self.labels[list(which)],
            splits=tuple(self.splits[i] for i in which),
            sources=tuple(self.sources[i] for i in which),
            read=read,
            groups=tuple(self.groups[i] for i in which) if self.groups else (),
            columns={name: [values[i] for i in which] for name, values in self.columns.items()},
            content=content if self.content else None,
        )

    def examined(self, which: Iterable[int], target: Target) -> Iterator[Examined | Unreadable]:
        """Pictures number `which` and what their files are, or the reason why not, in order.

        They are decoded on all cores.
        """

        def one(i: int) -> Examined | Unreadable:
            try:
                return self.read(i, target)
            except Unreadable as reason:
                return reason

        return on_all_cores(one, which, ahead=ahead(target))

    def readable(self, which: Iterable[int], target: Target) -> Iterator[NDArray[np.uint8]]:
        """The same for pictures that are known to be readable."""
        for found in self.examined(which, target):
            if isinstance(found, Unreadable):
                raise found
            yield found[0]


def group_equal(fingerprints: Iterable[str | None]) -> list[list[int]]:
    """The numbers of the pictures, those that are equal in every pixel as one group, in order.

    A picture without a fingerprint is unreadable, and in no group.
    """
    found: dict[str, list[int]] = {}
    for i, fingerprint in enumerate(fingerprints):
        if fingerprint is not None:
            found.setdefault(fingerprint, []).append(i)
    return list(found.values())


def in_memory(
    classes: Sequence[str],
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    splits: Sequence[str],
    names: Sequence[str],
) -> Pictures:
    """Pictures whose pixels are at hand: N×H×W or N×H×W×3."""

    def read(i: int, target: Target) -> Examined:
        image = Image.fromarray(images[i])
        facts = Facts("", image.width, image.height, image.mode, images[i].nbytes, "")
        return fit(image, target), facts

    return Pictures(tuple(classes), labels.astype(np.int64), tuple(splits), tuple(names), read)
