"""Paired tests that a model is not worse by some margin or more."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics.scores import Floats

EXACT = 100  # images: up to so many the test is exact, beyond them Tango's normal approximation
SHARES = 101  # of images that only ours gets right: so many are tried for the worst
FLOAT = 1e-9  # what is nearer to a whole number is one

# scipy is imported where it is used: it takes half a second, and most stages need none of it


def noninferiority(
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    margin: float,
    worth: float | None = None,
) -> float:
    """One-sided p that ours is worse by `margin` or more in accuracy; 1 without images.

    worth: so many independent images (`intervals.independent`); null: as many as there are. To flip
    signs would not do here: two models that agree on five images would be shown to be within any
    margin.
    """
    images = len(ours) if worth is None else worth
    if images < 1:
        return 1.0
    part = images / len(ours)
    only_ours, only_theirs = (ours & ~theirs).sum() * part, (theirs & ~ours).sum() * part
    if images <= EXACT:
        whole = int(images + FLOAT)
        lost = min(whole, int(np.ceil(only_theirs - FLOAT)))
        return _exact(min(whole - lost, int(only_ours + FLOAT)), lost, whole, margin)
    from scipy import stats

    return float(stats.norm.sf(tango(only_ours, only_theirs, images, -margin)))


def tango(only_ours: float, only_theirs: float, images: float, difference: float) -> float:
    """Tango's score statistic: how far a paired difference in accuracy is above `difference`.

    Standard normal if it is just that. Unlike a normal approximation it holds where the two hardly
    ever disagree. Tango, Statistics in Medicine 17, 1998.
    """
    return float(_tango(np.array(only_ours), np.array(only_theirs), images, difference))


def _tango(only_ours: Floats, only_theirs: Floats, images: float, difference: float) -> Floats:
    a, c = 2 * images, -only_theirs * difference * (1 - difference)
    b = -only_ours - only_theirs + (2 * images - only_ours + only_theirs) * difference
    # the likeliest share of images that only theirs gets right
    share = (np.sqrt(np.maximum(b**2 - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = np.maximum(images * (2 * share + difference * (1 - difference)), 1e-12)
    return np.asarray((only_ours - only_theirs - images * difference) / np.sqrt(variance))


def _exact(only_ours: int, only_theirs: int, images: int, margin: float) -> float:
    """The chance of so much for ours, by Tango's statistic, at the worst of all losses of `margin`.

    The unconditional exact test (Hsueh, Liu and Chen, doi:10.1111/j.0006-341X.2001.00478.x).
    """
    from scipy.special import xlogy

    wins, losses, found, ways = _outcomes(images, margin)
    reached = found >= found[(wins == only_ours) & (losses == only_theirs)] - FLOAT
    wins, losses, ways = wins[reached, None], losses[reached, None], ways[reached, None]
    share = np.linspace(0, (1 - margin) / 2, SHARES)
    chance = xlogy(wins, share) + xlogy(losses, share + margin)
    chance += xlogy(images - wins - losses, np.maximum(1 - 2 * share - margin, 0))
    return min(1.0, float(np.exp(ways + chance).sum(0).max()))


@lru_cache(maxsize=256)
def _outcomes(images: int, margin: float) -> tuple[Floats, Floats, Floats, Floats]:
    """All counts of images that only ours and only theirs gets right, and Tango's statistic.

    And the logarithm of how many ways there are to each.
    """
    from scipy.special import gammaln

    wins, losses = (
        axis.ravel().astype(np.float64) for axis in np.indices((images + 1, images + 1))
    )
    there = wins + losses <= images
    wins, losses = wins[there], losses[there]
    alike = images - wins - losses
    ways = gammaln(images + 1) - gammaln(wins + 1) - gammaln(losses + 1) - gammaln(alike + 1)
    return wins, losses, _tango(wins, losses, images, -margin), np.asarray(ways)


@lru_cache(maxsize=256)
def smallest_margin(images: float, alpha: float) -> float:
    """The margin that is shown where two models agree on every one of so many images."""
    if images < 1:
        return 1.0
    if images > EXACT:
        from scipy import stats

        z2 = float(stats.norm.isf(alpha)) ** 2
        return z2 / (images + z2)
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        shown = _exact(0, 0, int(images + FLOAT), middle) < alpha
        low, high = (low, middle) if shown else (middle, high)
    return high


def images_for_margin(
    only_ours: float, only_theirs: float, images: float, margin: float, alpha: float
) -> float:
    """How many images show the margin 4 times in 5, if all goes on as on these; or infinity."""
    from scipy import optimize, stats

    needed = float(stats.norm.isf(alpha) + stats.norm.ppf(0.8))

    def short(times: float) -> float:
        return needed - tango(times * only_ours, times * only_theirs, times * images, -margin)

    if only_theirs - only_ours >= margin * images:
        return np.inf
    most = 1.0
    while short(most) > 0:
        most *= 2
    return images * (1.0 if most == 1 else float(optimize.brentq(short, most / 2, most)))
