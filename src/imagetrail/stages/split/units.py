"""Units: pictures that stand on one side, as they are equal, near duplicates or of one group."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    of: Numbers  # the unit of each picture; -1: of none, as it is unreadable
    keys: tuple[str, ...]  # of each: the user's name for it or, without one, its least fingerprint
    named: NDArray[np.bool_]  # of each: whether its key is a name

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def groups(self) -> list[str | None]:
        """The key of each picture's unit, null for a picture that is alone and has no name."""
        shared = self.named | (np.bincount(self.of[self.of >= 0], minlength=len(self)) > 1)
        return [self.keys[unit] if unit >= 0 and shared[unit] else None for unit in self.of]


def find(
    fingerprints: Sequence[str | None], near: Sequence[int | None], groups: Sequence[str]
) -> Units:
    """The connected components of pictures that share a fingerprint, a near number or a group.

    All have an entry a picture; null and "": it shares none. One whose fingerprint is null is
    unreadable.
    """
    from scipy.sparse import coo_matrix, csgraph  # it takes longer to load than most else here

    readable = [i for i, fingerprint in enumerate(fingerprints) if fingerprint is not None]
    ties = [_ties(values[i] for i in readable) for values in (fingerprints, near, groups)]
    ends = np.concatenate([np.empty((0, 2), np.int64), *ties])
    size = (len(readable), len(readable))
    graph = coo_matrix((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), size)
    count, components = csgraph.connected_components(graph, directed=False)
    of = np.full(len(fingerprints), -1, np.int64)
    of[readable] = components
    keys: list[tuple[bool, str]] = [(True, "")] * count  # whether it has no name; name or content
    for i in readable:
        key = (not groups[i], groups[i] or str(fingerprints[i]))
        old = keys[of[i]]
        keys[of[i]] = min(key, old) if old[1] else key
    return Units(of, tuple(key for _, key in keys), np.array([not bare for bare, _ in keys], bool))


def _ties(values: Iterable[str | int | None]) -> Numbers:
    """Each entry that has the value of an earlier one, and the first that has it: M×2."""
    first: dict[str | int, int] = {}
    pairs = [
        (place, first.setdefault(value, place))
        for place, value in enumerate(values)
        if value is not None and value != ""
    ]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)
