"""How far a figure may be off: 95 % intervals of scores."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics.scores import Floats, Labels, Metric, Z


def bootstrap(
    judged: Mapping[str, tuple[Metric, Floats]],
    labels: Labels,
    rng: np.random.Generator,
    *,
    draws: int,
    units: NDArray[np.int64] | None = None,
) -> dict[str, tuple[float, float]]:
    """Percentile 95 % interval of each metric on its probabilities, over the same resamples.

    units: a number for each image, equal for those that belong together and so are drawn together
    (the cluster bootstrap; Field and Welsh, doi:10.1111/j.1467-9868.2007.00593.x); null: each is
    drawn by itself.

    Resampling adds to a calibration error, never takes away: its interval errs on the high side
    and may not hold the value.
    """
    parts = [metric.parts(probabilities, labels) for metric, probabilities in judged.values()]
    means = _means(np.hstack(parts), rng, draws, units)
    ends = np.cumsum([part.shape[1] for part in parts])
    found: dict[str, tuple[float, float]] = {}
    columns = np.split(means, ends[:-1], axis=1)
    for (name, (metric, _)), own in zip(judged.items(), columns, strict=True):
        found[name] = interval(metric.value(own))
    return found


def accuracy(right: NDArray[np.bool_], units: NDArray[np.int64]) -> tuple[float, float]:
    """95 % interval of the share that is right: Wilson's, of as many images as these are worth.

    units: a number for each image, equal for those that belong together, 0 upwards. What images
    are worth follows from how units differ, and is less for few units (Korn and Graubard, Survey
    Methodology 24, 1998); where all are alike, as without a fault, it is the least that it can be.
    """
    share, count = right.mean(), float(len(right))
    error, spread = _error_over_units(right.astype(np.float64), units)
    if units.max() + 1 < len(right):
        worth = share * (1 - share) / error**2 * (Z / spread) ** 2 if error else independent(units)
        count = min(count, max(worth, 1.0))
    low, high = wilson(np.array(share * count), np.array(count))
    return float(low), float(high)


def independent(units: NDArray[np.int64]) -> float:
    """So many independent images are worth what these are, if those of a unit are all alike.

    The least that they can be worth (Kish, Survey Sampling, 1965); without images 0.
    """
    sizes = np.unique(units, return_counts=True)[1]
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def mean_over_units(
    values: Floats, units: NDArray[np.int64], within: tuple[float, float]
) -> tuple[float, float]:
    """Student-t 95 % interval of the mean of N values that belong together by units.

    The mean is a ratio of sums over units, and its error that of the linearised ratio (Cochran,
    Sampling Techniques, 1977). Of one unit nothing is known, but that values are `within`.
    """
    error, spread = _error_over_units(values, units)
    half = spread * error if units.max() else np.inf
    mean = float(values.mean())
    return max(within[0], mean - half), min(within[1], mean + half)


def _error_over_units(values: Floats, units: NDArray[np.int64]) -> tuple[float, float]:
    """The standard error of the mean, 0 for one unit, and how many of it are to either side."""
    from scipy import stats

    sizes = np.bincount(units)
    off = np.bincount(units, values) - values.mean() * sizes
    degrees = max(1, len(sizes) - 1)
    error = np.sqrt(len(sizes) / degrees * (off**2).sum()) / len(values)
    return float(error), float(stats.t.ppf(0.975, degrees))


def _means(
    parts: Floats, rng: np.random.Generator, draws: int, units: NDArray[np.int64] | None
) -> Floats:
    """Of N×P parts the means over resamples of images or of units, draws×P."""
    if units is None:
        return resampled(parts, rng, draws=draws)
    _, which, counts = np.unique(units, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), parts.shape[1] + 1))
    np.add.at(sums, which, np.column_stack([parts, np.ones(len(parts))]))
    drawn = resampled(sums, rng, draws=draws)
    return np.asarray(drawn[:, :-1] / drawn[:, -1:])


def resampled(parts: Floats, rng: np.random.Generator, *, draws: int) -> Floats:
    """The means of N×P parts over `draws` resamples of N images, draws×P.

    A product of the parts with how often each image was drawn.
    """
    count, many = len(parts), 64  # resamples at a time, to bound the memory
    means = np.empty((draws, parts.shape[1]))
    for start in range(0, draws, many):
        rows = min(many, draws - start)
        chosen = rng.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        often = np.bincount(chosen.ravel(), minlength=rows * count).reshape(rows, count)
        means[start : start + rows] = often.astype(np.float64) @ parts / count
    return means


def interval(values: Floats) -> tuple[float, float]:
    """The middle 95 % of the values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def wilson(right: NDArray[np.int64], count: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Wilson's 95 % interval of the share `right` / `count`, good for few images too.

    Wilson, doi:10.2307/2276774.
    """
    count = np.maximum(count, 1)
    share, spread = right / count, Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z * np.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def auroc(known: Floats, unknown: Floats) -> tuple[float, float, float]:
    """Chance that a known image scores higher than an unknown one, and its 95 % interval.

    DeLong, DeLong and Clarke-Pearson, doi:10.2307/2531595.
    """
    above, below = _beaten(known, unknown), _beaten(unknown, known)
    half = Z * np.sqrt(above.var() / len(known) + below.var() / len(unknown))
    value = float(above.mean())
    return value, max(0.0, value - half), min(1.0, value + half)


def _beaten(scores: Floats, others: Floats) -> Floats:
    """Share of `others` below each score; a tie counts half."""
    ranked = np.sort(others)
    below, up_to = (np.searchsorted(ranked, scores, side) for side in ("left", "right"))
    share: Floats = (below + up_to) / 2 / len(ranked)
    return share


def mean_interval(values: Floats) -> tuple[float, float]:
    """Student-t 95 % interval of the mean of a few runs; a point if there is only one."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    from scipy import stats

    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
