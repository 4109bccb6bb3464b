"""Paired tests: is a difference between two models, or among many, more than chance?"""

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics.scores import Floats, Z

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
    return only_ours, only_theirs, float(p)


def sign_flips(
    ours: NDArray[np.bool_], theirs: NDArray[np.bool_], units: NDArray[np.int64]
) -> tuple[int, float]:
    """Units that one of the two judges better, and the p that ours is no better; one-sided.

    units: a number for each image, equal for those that belong together. The exact permutation
    test: without a difference, what ours has ahead in a unit is as likely behind. Where each unit
    is one image it is McNemar's.
    """
    ahead = np.bincount(units, ours.astype(np.float64) - theirs).astype(np.int64)
    ahead = ahead[ahead != 0]
    chance = np.ones(1)  # of each sum of the units that are flipped to the side of ours
    for size, count in zip(*np.unique(np.abs(ahead), return_counts=True), strict=True):
        flipped = np.zeros(size * count + 1)
        flipped[::size] = _binomial(int(count))
        chance = np.convolve(chance, flipped)
    return len(ahead), min(1.0, float(chance[int(ahead[ahead > 0].sum()) :].sum()))


def _binomial(count: int) -> Floats:
    from scipy import stats

    return np.asarray(stats.binom.pmf(np.arange(count + 1), count, 0.5), np.float64)


def tango(only_ours: float, only_theirs: float, images: float, difference: float) -> float:
    """Tango's score statistic: how far a paired difference in accuracy is above `difference`.

    Standard normal if it is just that. Unlike a normal approximation it holds where the two hardly
    ever disagree. Tango, Statistics in Medicine 17, 1998.
    """
    a, c = 2 * images, -only_theirs * difference * (1 - difference)
    b = -only_ours - only_theirs + (2 * images - only_ours + only_theirs) * difference
    # the likeliest share of images that only theirs gets right
    share = (np.sqrt(max(b**2 - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = images * (2 * share + difference * (1 - difference))
    return float((only_ours - only_theirs - images * difference) / np.sqrt(max(variance, 1e-12)))


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


def noninferiority(
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    margin: float,
    worth: float | None = None,
) -> float:
    """One-sided p that ours is worse by `margin` or more in accuracy; 1 without images.

    Tango's score test. worth: so many independent images (`intervals.independent`); null: as many
    as there are. To flip signs would not do here: two models that agree on five images would be
    shown to be within any margin.
    """
    if len(ours) == 0:
        return 1.0
    from scipy import stats

    only_ours, only_theirs, _ = mcnemar(ours, theirs)
    images = len(ours) if worth is None else worth
    part = images / len(ours)
    return float(stats.norm.sf(tango(only_ours * part, only_theirs * part, images, -margin)))


def minimal_effect(disagreements: int, images: int, alpha: float, power: float = 0.8) -> float:
    """The smallest gain in accuracy that the exact McNemar test would have found with this power.

    Given how many images the two models judge differently, or else as many as a finding takes if
    all favour ours.
    """
    from scipy import stats

    count = max(disagreements, int(np.ceil(-np.log2(alpha))))
    needed = int(stats.binom.isf(alpha, count, 0.5)) + 1  # the fewest for ours that are significant
    # the share for ours at which so many come up with this power
    share = float(stats.beta.ppf(power, needed, count - needed + 1))
    return min(1.0, (2 * share - 1) * count / images)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction for many comparisons, in the order given."""
    order = np.argsort(p_values)
    corrected = np.empty(len(p_values))
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[i])
        corrected[i] = min(running, 1.0)
    return [float(p) for p in corrected]
