"""Challenger and champion on the same test images: is one better, and by how much."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.criteria import Criterion
from imagetrail.metrics import intervals, power, significance
from imagetrail.metrics.scores import Labels

Units = NDArray[np.int64]  # a number for each image, equal for those that belong together


@dataclass(frozen=True)
class Pair:
    """Where each of the two is right, on N images."""

    ours: NDArray[np.bool_]  # the challenger
    theirs: NDArray[np.bool_]  # the champion
    labels: Labels
    units: Units
    by: Criterion  # what better means

    @property
    def alike(self) -> bool:
        """Whether both are right on the same images."""
        return bool((self.ours == self.theirs).all())

    @property
    def p_better(self) -> float:
        """The one-sided p that ours is no better."""
        if self.by is Criterion.TOP1:
            return significance.sign_flips(self.ours, self.theirs, self.units)[1]
        return significance.macro_sign_flips(self.ours, self.theirs, self.labels, self.units)[1]

    @property
    def p_worse(self) -> float:
        """The one-sided p that ours is no worse."""
        return replace(self, ours=self.theirs, theirs=self.ours).p_better

    def figures(self, alpha: float) -> dict[str, float]:
        """How far ours is ahead, with 95 % intervals, and what so many images could have shown.

        alpha: the chance of error that the test of being better may have.
        """
        given = self.ours, self.theirs, self.labels, self.units
        macro = significance.paired_macro_interval(*given)
        figures = {f"top1_{name}": value for name, value in ahead(*given[:2], self.units).items()}
        names = ("difference", "difference_low", "difference_high")
        figures |= {f"macro_recall_{name}": end for name, end in zip(names, macro, strict=True)}
        figures["minimal_effect"] = (
            self._minimal_effect(alpha)
            if self.by is Criterion.TOP1
            else power.minimal_macro_effect(*given, alpha)
        )
        only_new, only_old, _ = significance.mcnemar(self.ours, self.theirs)
        counts = {"only_challenger_right": only_new, "only_champion_right": only_old}
        p = {
            "mcnemar_p": significance.sign_flips(self.ours, self.theirs, self.units)[1],
            "p_better": self.p_better,
        }
        return {name: round(value, 6) for name, value in figures.items()} | counts | p

    def _minimal_effect(self, alpha: float) -> float:
        each = significance.ahead_by_unit(self.ours, self.theirs, self.units)
        each = np.abs(each[each != 0])
        size = float(each.mean()) if len(each) else 1.0  # images
        return min(1.0, size * power.minimal_effect(len(each), len(self.ours), alpha))


def ahead(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], units: Units) -> dict[str, float]:
    """The difference in accuracy, and its 95 % interval, by units no narrower than by images.

    Never a point: two models that agree on all of N images may differ on others (Tango). Without
    images it may be anything.
    """
    names = ("difference", "difference_low", "difference_high")
    if not len(ours):
        return dict(zip(names, (0.0, -1.0, 1.0), strict=True))
    difference, low, high = significance.paired_interval(ours, theirs)
    _, which = np.unique(units, return_inverse=True)
    if which.max() + 1 < len(ours):
        ends = intervals.mean_over_units(ours.astype(np.float64) - theirs, which, (-1, 1))
        low, high = min(low, ends[0]), max(high, ends[1])
    found = (round(value, 6) for value in (difference, low, high))
    return dict(zip(names, found, strict=True))
