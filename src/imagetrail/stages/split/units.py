"""Units: pictures that stand on one side, as they are equal, near duplicates or of one group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.units import Numbers as Numbers
from imagetrail.base.units import connected


@dataclass(frozen=True)
class Units:
    of: Numbers  # the unit of each picture; -1: of none, as it is unreadable
    marks: tuple[frozenset[str], ...]  # of each: the user's names for it or, without, fingerprints
    named: NDArray[np.bool_]  # of each: whether its marks are names

    def __len__(self) -> int:
        return len(self.marks)

    @property
    def keys(self) -> list[str]:
        """The least mark of each."""
        return [min(marks) for marks in self.marks]

    @property
    def groups(self) -> list[str | None]:
        """The key of each picture's unit, null for a picture that is alone and has no name."""
        keys = self.keys
        shared = self.named | (np.bincount(self.of[self.of >= 0], minlength=len(self)) > 1)
        return [keys[unit] if unit >= 0 and shared[unit] else None for unit in self.of]


def find(
    fingerprints: Sequence[str | None], near: Sequence[int | None], groups: Sequence[str]
) -> Units:
    """The connected components of pictures that share a fingerprint, a near number or a group.

    All have an entry a picture; null and "": it shares none. One whose fingerprint is null is
    unreadable.
    """
    readable = [i for i, fingerprint in enumerate(fingerprints) if fingerprint is not None]
    columns = [[values[i] for i in readable] for values in (fingerprints, near, groups)]
    of = np.full(len(fingerprints), -1, np.int64)
    of[readable] = connected(columns, len(readable))
    count = int(of.max(initial=-1)) + 1
    names: list[set[str]] = [set() for _ in range(count)]
    contents: list[set[str]] = [set() for _ in range(count)]
    for i in readable:
        contents[of[i]].add(str(fingerprints[i]))
        if groups[i]:
            names[of[i]].add(groups[i])
    marks = tuple(frozenset(own or content) for own, content in zip(names, contents, strict=True))
    return Units(of, marks, np.array([bool(own) for own in names], bool))
