"""Paired tests: is a difference between two models, or among many, more than chance?"""

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics.intervals import combined, independent
from imagetrail.metrics.noninferiority import tango
from imagetrail.metrics.scores import Floats, Labels, Z, evenly

STEPS = 1 << 16  # macro recall is counted in so many, all that is won and lost together
EITHER = 2  # units of a class: the fewest with which no trade between classes passes too often
TINY = 1e-12  # of macro recall: sums of fractions that are 0 but for rounding
LEAST = 1e-300  # a p is never 0

# scipy is imported where it is used: it takes half a second, and most stages need none of it


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Images only ours gets right, those only theirs does, and the p that ours is no better.

    The exact test, one-sided.
    """
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if only_ours + only_theirs == 0:
        return 0, 0, 1.0
    from scipy import stats

    p = stats.binomtest(only_ours, only_ours + only_theirs, 0.5, alternative="greater").pvalue
    return only_ours, only_theirs, max(LEAST, float(p))


def sign_flips(
    ours: NDArray[np.bool_], theirs: NDArray[np.bool_], units: NDArray[np.int64]
) -> tuple[int, float]:
    """Units that one of the two judges better, and the p that ours is no better; one-sided.

    units: a number for each image, equal for those that belong together. The exact permutation
    test: without a difference, what ours has ahead in a unit is as likely behind. Where each unit
    is one image it is McNemar's.
    """
    ahead = ahead_by_unit(ours, theirs, units).astype(np.int64)
    return int(np.count_nonzero(ahead)), _reached(np.abs(ahead), int(ahead.sum()))


def ahead_by_unit(
    ours: NDArray[np.bool_], theirs: NDArray[np.bool_], units: NDArray[np.int64]
) -> Floats:
    """How many images more ours gets right in each unit."""
    return np.asarray(np.bincount(units, ours.astype(np.float64) - theirs), np.float64)


def macro_sign_flips(
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    labels: Labels,
    units: NDArray[np.int64],
) -> tuple[int, float]:
    """The same of macro recall: an image counts by 1 / images of its class.

    Where all classes are equally large it is the test of accuracy. Where they are not, flips alone
    would err: that all 5 images of a rare class are right does not tell that none is lost there,
    and what is won in a common one outweighs it with certainty. So EITHER units of each class may
    go either way beside those that do, by as much as they weigh more than one of the largest class.
    Ours that wins in common classes what it loses in one of 5 images passes 60 times in 100 without
    these, at most 5 times with them.
    """
    ahead, uncertain = macro_ahead(ours, theirs, labels, units)
    sizes = np.concatenate([np.abs(ahead), uncertain])
    if not ahead.any():
        return 0, 1.0
    smallest, step = sizes[sizes > 0].min(), sizes.sum() / STEPS
    step = max(step, smallest / max(1, smallest // step))  # its multiples stay what they are
    whole, sizes = (np.rint(some / step).astype(np.int64) for some in (ahead, sizes))
    return int(np.count_nonzero(ahead)), _reached(sizes, int(whole.sum()))


def macro_ahead(
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    labels: Labels,
    units: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """What ours has ahead in each unit, of macro recall; and what may go either way beside it."""
    ahead = np.bincount(units, evenly(labels) * (ours.astype(np.float64) - theirs))
    kinds = np.unique(labels)
    each = 1 / np.array([len(kinds) * independent(units[labels == kind]) for kind in kinds])
    return np.where(np.abs(ahead) < TINY, 0.0, ahead), np.repeat(each - each.min(), EITHER)


def _reached(sizes: NDArray[np.int64], found: int) -> float:
    """The chance that the sum of these sizes, each of either sign at even odds, reaches `found`."""
    chance = np.ones(1)  # of each sum of those that are positive
    for size, count in zip(*np.unique(sizes[sizes > 0], return_counts=True), strict=True):
        more = np.zeros(len(chance) + size * count)
        for often, p in enumerate(_binomial(int(count))):
            more[often * size : often * size + len(chance)] += p * chance
        chance = more
    return min(1.0, max(LEAST, float(chance[-(-(found + int(sizes.sum())) // 2) :].sum())))


def _binomial(count: int) -> Floats:
    from scipy import stats

    return np.asarray(stats.binom.pmf(np.arange(count + 1), count, 0.5), np.float64)


def paired_interval(
    ours: NDArray[np.bool_], theirs: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Ours minus theirs in accuracy on the same images, and its 95 % score interval (Tango)."""
    from scipy import optimize

    images, (only_ours, only_theirs, _) = len(ours), mcnemar(ours, theirs)
    found = (only_ours - only_theirs) / images

    def end(low: float, high: float, z: float) -> float:
        return float(
            optimize.brentq(lambda d: tango(only_ours, only_theirs, images, d) - z, low, high)
        )

    return (
        found,
        end(-1 + 1e-9, found, Z) if found > -1 else -1.0,
        end(found, 1 - 1e-9, -Z) if found < 1 else 1.0,
    )


def paired_macro_interval(
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    labels: Labels,
    units: NDArray[np.int64],
) -> tuple[float, float, float]:
    """Ours minus theirs in macro recall, and its 95 % interval, of Tango's for the classes."""
    kinds = np.unique(labels)
    ends = np.array([paired_interval(ours[labels == k], theirs[labels == k]) for k in kinds])
    ahead = ours.astype(np.float64) - theirs
    return float(ends[:, 0].mean()), *combined(ends, ahead, labels, units, (-1, 1))


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction for many comparisons, in the order given."""
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[i])
        corrected[i] = min(running, 1.0)
    return [float(p) for p in corrected]
