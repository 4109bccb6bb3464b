"""Challenger and champion on the same test images: is one better, and by how much."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.criteria import Criterion
from imagetrail.metrics import intervals, significance
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
        """How far ours is ahead, with 95 % intervals, and what so many images could have shown."""
        given = self.ours, self.theirs, self.labels, self.units
        ends = ("", "_low", "_high")
        top1 = zip(ends, self._top1(), strict=True)
        macro = zip(ends, significance.paired_macro_interval(*given), strict=True)
        figures = {f"top1_difference{end}": value for end, value in top1}
        figures |= {f"macro_recall_difference{end}": value for end, value in macro}
        figures["minimal_effect"] = (
            self._minimal_effect(alpha)
            if self.by is Criterion.TOP1
            else significance.minimal_macro_effect(*given, alpha)
        )
        only_new, only_old, _ = significance.mcnemar(self.ours, self.theirs)
        counts = {"only_challenger_right": only_new, "only_champion_right": only_old}
        p = {
            "mcnemar_p": significance.sign_flips(self.ours, self.theirs, self.units)[1],
            "p_better": self.p_better,
        }
        return {name: round(value, 6) for name, value in figures.items()} | counts | p

    def _top1(self) -> tuple[float, float, float]:
        """The difference in accuracy, and its interval, by units no narrower than by images."""
        difference, low, high = significance.paired_interval(self.ours, self.theirs)
        if self.units.max() + 1 < len(self.ours):
            ahead = self.ours.astype(np.float64) - self.theirs
            ends = intervals.mean_over_units(ahead, self.units, (-1, 1))
            low, high = min(low, ends[0]), max(high, ends[1])
        return difference, low, high

    def _minimal_effect(self, alpha: float) -> float:
        ahead = np.bincount(self.units, self.ours.astype(np.float64) - self.theirs)
        ahead = np.abs(ahead[ahead != 0])
        each = float(ahead.mean()) if len(ahead) else 1.0  # images
        return min(1.0, each * significance.minimal_effect(len(ahead), len(self.ours), alpha))
