"""Pictures that are one picture: encoded anew, cut, resized, brightened or changed in contrast.

Candidates are the nearest neighbours among coarse descriptors; then pixels decide: one picture is
laid upon the other by shift and scale (Gauss-Newton, Baker and Matthews, IJCV 56, 2004), and what
is left must be small, and small beside what is left of other pictures like it (as the ratio test of
Lowe, IJCV 60, 2004): two ones of MNIST are more alike than two photos ever are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from imagetrail.base.rng import generator
from imagetrail.data.pictures import on_all_cores
from imagetrail.stages.inspect.neighbours import members, nearest
from imagetrail.stages.inspect.registration import sampling, softened, unexplained

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]

COARSE = 8  # pixels a side of a descriptor
LENGTH = 4000  # of a descriptor of whole numbers; its square is below 2**24 (see _descriptors)
CUT = 0.05  # of each side: a picture so cut is near to what is cut by 0 to 10 %
NEIGHBOURS = 4  # of the whole, and as many of the cut picture
CELL = 600  # descriptors that are compared with one another, about
CELLS_EACH = 3  # that a descriptor is in: neighbours stand on both sides of a border
CHUNK = 512  # pairs registered at once, by each thread
BLOCK = 4096  # pictures in memory at once
FLAT = 3.0  # grey levels of standard deviation: below it there is nothing to compare

# What one picture leaves of another is a share of its variance.
SMALL = 14  # pixels a side at which pairs are laid upon one another roughly, at first
NOISE = 0.01  # less is noise of encoding
UNLIKELY = 0.15  # more, roughly, is no copy
GAP = 2.0  # roughly, the next picture leaves so many times more than the last copy
ALIKE = 0.06  # a copy leaves no more, shared among the copies that there are
AS_NEIGHBOURS = 8.0  # a copy leaves so many times less than neighbours of this set do
STANDS_OUT = 4.0  # and so many times less than the next picture does
DIVERSE = 0.3  # neighbours leave more: photos, whose finest detail need not be looked at
CERTAIN = 0.003  # of what any two pictures leave: a copy, whatever else is near


def groups(thumbnails: NDArray[np.uint8], fingerprints: Sequence[str | None]) -> Numbers:
    """The group of each picture, numbered from 0 in order; -1 for those that are alone.

    thumbnails: N×n×n×C, may be on disk. A group has pictures that differ, and their exact copies.
    """
    group = np.full(len(fingerprints), -1)
    first: dict[str, int] = {}
    of = [-1 if name is None else first.setdefault(name, i) for i, name in enumerate(fingerprints)]
    distinct = np.array(sorted(first.values()), np.int64)
    used = distinct[_spread(thumbnails, distinct) >= FLAT]
    if len(used) < 2:
        return group
    pairs = _alike(thumbnails, used)
    count = len(group)
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, component = connected_components(graph, directed=False)
    paired = np.unique(component[pairs[:, 0]])
    numbers = {int(name): number for number, name in enumerate(paired)}
    for i, copy in enumerate(of):
        if copy >= 0:
            group[i] = numbers.get(int(component[copy]), -1)
    return group


def _grey(thumbnails: NDArray[np.uint8], which: Numbers) -> Floats:
    """P×n×n, as they are where only one channel is."""
    grey: Floats = thumbnails[which].mean(3, dtype=np.float32)
    return grey


def _blocks(which: Numbers) -> Iterator[Numbers]:
    for start in range(0, len(which), BLOCK):
        yield which[start : start + BLOCK]


def _spread(thumbnails: NDArray[np.uint8], which: Numbers) -> Floats:
    return np.concatenate(
        [np.zeros(0, np.float32)]
        + [_grey(thumbnails, block).std((1, 2)) for block in _blocks(which)]
    )


# ---- candidates ----


def _descriptors(thumbnails: NDArray[np.uint8], which: Numbers, *, cut: float) -> Floats:
    """Vectors whose products are as correlations, blind to brightness and contrast.

    Of whole numbers, and so short that float32 holds every sum of products exactly: products are
    the same in whatever order a BLAS of so many threads adds them up.
    """
    found = np.empty((len(which), COARSE * COARSE), np.float32)
    for start, block in enumerate(_blocks(which)):
        grey = _grey(thumbnails, block)
        if cut:
            side = grey.shape[1]
            inside = sampling(np.full(1, 1 - 2 * cut, np.float32), np.zeros(1, np.float32), side)[0]
            grey = inside @ grey @ inside.T
        for i, image in enumerate(grey):
            small = cv2.resize(image, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
            found[BLOCK * start + i] = small.ravel()
    found -= found.mean(1, keepdims=True)
    found *= LENGTH / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-3)
    return np.rint(found)


def _candidates(whole: Floats, cut: Floats) -> tuple[Numbers, NDArray[np.bool_]]:
    """Pairs (P×2) of descriptors that are near neighbours, and whether the first is to be cut."""
    count = len(whole)
    cells = max(1, count // CELL)
    centres = whole[generator(0, "near duplicates").permutation(count)[:cells]]
    each = min(CELLS_EACH, cells)
    in_cells = [nearest(centres, descriptors, each) for descriptors in (whole, cut)]
    lists = [members(found, cells) for found in in_cells]

    def pairs_in(cell: int) -> Numbers:
        """Each as one number, cut or not and both rows."""
        asking, keys = lists[0][cell], []
        for kind, descriptors in enumerate((whole, cut)):
            offered = lists[kind][cell]
            near = nearest(descriptors[offered], whole[asking], NEIGHBOURS + 1)
            pairs = np.stack([offered[near].ravel(), np.repeat(asking, near.shape[1])], 1)
            pairs = pairs[pairs[:, 0] != pairs[:, 1]]
            if not kind:
                pairs.sort(axis=1)
            keys.append((kind * count + pairs[:, 0]) * count + pairs[:, 1])
        return np.concatenate(keys)

    key = np.unique(np.concatenate(list(on_all_cores(pairs_in, range(cells)))))
    first, second = np.divmod(key, count)
    return np.stack([first % count, second], 1), first >= count


# ---- verification ----


def _alike(thumbnails: NDArray[np.uint8], used: Numbers) -> Numbers:
    """Pairs (P×2) of the pictures `used` that are one picture."""
    pairs, cut = _candidates(
        _descriptors(thumbnails, used, cut=0), _descriptors(thumbnails, used, cut=CUT)
    )
    zoom = np.where(cut, 1 - 2 * CUT, 1).astype(np.float32)
    small = _small(thumbnails, used)
    coarse = _left(small, pairs, zoom, steps=2)
    best = _best(pairs, coarse)
    pairs, zoom, coarse = pairs[best], zoom[best], coarse[best]
    level = _level(small)
    gaps = _gaps(pairs, coarse, len(used), level)
    likely = (coarse <= gaps.within[pairs].min(1)) | (coarse <= CERTAIN * level)
    pairs = pairs[likely]
    softly = gaps.typical > DIVERSE
    left = _left(thumbnails, used[pairs], zoom[likely], steps=6, softly=softly)
    several = np.maximum(gaps.copies[pairs].max(1), 1)
    little = np.minimum(ALIKE, gaps.typical / AS_NEIGHBOURS) / several
    alike = left <= np.minimum(little, gaps.beyond[pairs].min(1) / STANDS_OUT)
    found: Numbers = used[pairs[alike | (left <= CERTAIN * level)]]
    return found


def _best(pairs: Numbers, left: Floats) -> Numbers:
    """The rows of `pairs` that leave least of those that are the same two pictures."""
    low, high = pairs.min(1), pairs.max(1)
    order = np.lexsort((left, high, low))
    new = (np.diff(low[order], prepend=-1) != 0) | (np.diff(high[order], prepend=-1) != 0)
    best: Numbers = order[new]
    return best


def _small(thumbnails: NDArray[np.uint8], used: Numbers) -> NDArray[np.uint8]:
    """N×SMALL×SMALL×1, or as large as they are."""
    side = min(SMALL, thumbnails.shape[1])
    small = np.empty((len(used), side, side, 1), np.uint8)
    for start, block in enumerate(_blocks(used)):
        for i, image in enumerate(_grey(thumbnails, block)):
            resized = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            small[BLOCK * start + i, ..., 0] = np.rint(resized)
    return small


def _left(
    images: NDArray[np.uint8], pairs: Numbers, zoom: Floats, *, steps: int, softly: bool = False
) -> Floats:
    """What of the variance of each pair's second picture the first, laid upon it, leaves."""

    def one(part: slice) -> Floats:
        first, second = (
            images[pairs[part, side]].transpose(0, 3, 1, 2).astype(np.float32) for side in (0, 1)
        )
        if softly:
            first, second = softened(first), softened(second)
        return unexplained(first, second, zoom[part], steps=steps)

    parts = [slice(start, start + CHUNK) for start in range(0, len(pairs), CHUNK)]
    return np.concatenate([np.zeros(0, np.float32), *on_all_cores(one, parts)])


def _level(images: NDArray[np.uint8]) -> float:
    """What any picture leaves of any other, in the median."""
    pairs = generator(0, "pairs").integers(0, len(images), (1000, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    return float(np.median(_left(images, pairs, np.ones(len(pairs), np.float32), steps=0)))


@dataclass(frozen=True)
class Gaps:
    """Where the copies of each picture end among its neighbours; 0 where there is no gap."""

    within: Floats  # what the last copy leaves
    beyond: Floats  # what the first of the others leaves
    copies: Floats
    typical: float  # what neighbours leave of one another in this set


def _gaps(pairs: Numbers, left: Floats, count: int, level: float) -> Gaps:
    """level: what any two pictures leave; one with few candidates has all others among them."""
    few = np.flatnonzero(np.bincount(pairs.ravel(), minlength=count) < NEIGHBOURS)
    who = np.concatenate([pairs[:, 0], pairs[:, 1], few])
    value = np.concatenate([left, left, np.full(len(few), level, np.float32)])
    order = np.lexsort((value, who))
    who, value = who[order], value[order]
    starts = np.searchsorted(who, np.arange(count + 1))
    gap = value[1:] / np.maximum(value[:-1], NOISE)
    gap[(who[1:] != who[:-1]) | (gap < GAP) | (value[:-1] > UNLIKELY)] = 0
    order = np.lexsort((gap, who[:-1]))
    widest = order[np.flatnonzero(np.diff(who[:-1][order], append=-1))]
    widest = widest[gap[widest] > 0]
    within, beyond, copies = (np.zeros(count, np.float32) for _ in range(3))
    mine = who[widest]
    within[mine], beyond[mine] = value[widest], value[widest + 1]
    copies[mine] = widest - starts[mine] + 1
    typical = float(np.median(value[(starts[:-1] + starts[1:]) // 2]))
    return Gaps(within, beyond, copies, typical)
