"""What so many images can show, and how many would show what was seen."""

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics.scores import Labels
from imagetrail.metrics.significance import ahead_by_unit, macro_ahead

POWER = 0.8

# scipy is imported where it is used: it takes half a second, and most stages need none of it


def minimal_effect(disagreements: int, images: int, alpha: float) -> float:
    """The smallest gain in accuracy that the exact McNemar test would have found with POWER.

    Given how many images the two models judge differently, or else as many as a finding takes if
    all favour ours.
    """
    from scipy import stats

    count = max(disagreements, int(np.ceil(-np.log2(alpha))))
    needed = int(stats.binom.isf(alpha, count, 0.5)) + 1  # the fewest for ours that are significant
    # the share for ours at which so many come up with this power
    share = float(stats.beta.ppf(POWER, needed, count - needed + 1))
    return min(1.0, (2 * share - 1) * count / images)


def minimal_macro_effect(
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    labels: Labels,
    units: NDArray[np.int64],
    alpha: float,
) -> float:
    """The smallest gain in macro recall that `macro_sign_flips` would have found with POWER.

    By the normal approximation, and of as many units as a finding takes at least.
    """
    from scipy import stats

    ahead, uncertain = macro_ahead(ours, theirs, labels, units)
    least = np.ceil(-np.log2(alpha)) / len(ahead) ** 2
    flips = max(float((ahead**2).sum()), least)
    noise = np.sqrt(flips + (uncertain**2).sum())
    return float(min(1.0, stats.norm.isf(alpha) * noise + stats.norm.ppf(POWER) * np.sqrt(flips)))


ROUNDING = 1e-12  # of a sum of shares; one image of a million million is not the gain of anything


def times_as_many(
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    labels: Labels,
    units: NDArray[np.int64],
    alpha: float,
    *,
    macro: bool,
) -> float:
    """So many times these images show with POWER the gain that was seen here; or infinity.

    In accuracy, or macro: in macro recall. By the normal approximation, if ours is truly so far
    ahead; infinity if it is not ahead. Of what is undecided in rare classes (`macro_sign_flips`)
    an image counts the less, the more there are.
    """
    from scipy import optimize, stats

    if macro:
        ahead, uncertain = macro_ahead(ours, theirs, labels, units)
    else:
        ahead, uncertain = ahead_by_unit(ours, theirs, units) / len(ours), np.zeros(0)
    gain, flips, more = float(ahead.sum()), (ahead**2).sum(), (uncertain**2).sum()
    if gain <= ROUNDING:
        return float("inf")
    chance, power = stats.norm.isf(alpha), stats.norm.ppf(POWER)

    def short(times: float) -> float:
        noise = chance * np.sqrt(flips / times + more / times**2) + power * np.sqrt(flips / times)
        return float(noise - gain)

    most = 1.0
    while short(most) > 0:
        most *= 2
    return 1.0 if most == 1 else float(optimize.brentq(short, most / 2, most))
