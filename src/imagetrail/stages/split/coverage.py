"""Which classes each part has, and units moved to where there is nothing of a class."""

from collections.abc import Container, Sequence

import numpy as np

from imagetrail.stages.split.units import Numbers

PARTS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)


class Coverage:
    """How many units of each class are on each side.

    sides: of each unit, a position in PARTS; `mend` changes it. holders, labels: each unit, in
    order, with each of the labels in it.
    """

    def __init__(self, sides: Numbers, holders: Numbers, labels: Numbers) -> None:
        self._sides, self._holders, self._labels = sides, holders, labels
        self._starts = np.searchsorted(holders, np.arange(len(sides) + 1))
        self._counts = np.zeros((len(PARTS), labels.max(initial=0) + 1), np.int64)
        np.add.at(self._counts, (sides[holders], labels), 1)

    def mend(self, ranked: Numbers, parts: Sequence[int]) -> None:
        """Gives each class a unit in train, and in the other `parts` while it has units to spare.

        ranked: the units that may be moved. Of those that have the class the first goes, to train
        the last; those of test after others, and those with more classes after those with fewer.
        """
        for label in np.argsort(np.bincount(self._labels), kind="stable"):  # the scarcest first
            for place, part in enumerate(parts):
                if self._counts[part, label]:
                    continue
                mine = ranked[np.isin(ranked, self._holders[self._labels == label])]
                mine = mine[::-1] if part == TRAIN else mine
                widths = self._starts[mine + 1] - self._starts[mine]
                units = mine[np.lexsort((widths, self._sides[mine] == TEST))].tolist()
                later = parts[place + 1 :]
                spared = (unit for unit in units if self._can_spare(unit, label, later))
                unit = next(spared, units[0] if part == TRAIN and units else None)
                if unit is not None:
                    self._move(unit, part)

    def _kinds(self, unit: int) -> Numbers:
        return self._labels[self._starts[unit] : self._starts[unit + 1]]

    def _can_spare(self, unit: int, label: int, later: Container[int]) -> bool:
        """Whether no class would have nothing where the unit is, but `label` in a later part."""
        side, kinds = int(self._sides[unit]), self._kinds(unit)
        mended = (kinds == label) & (side in later)
        return bool((mended | (self._counts[side, kinds] > 1)).all())

    def _move(self, unit: int, part: int) -> None:
        self._counts[self._sides[unit], self._kinds(unit)] -= 1
        self._counts[part, self._kinds(unit)] += 1
        self._sides[unit] = part
