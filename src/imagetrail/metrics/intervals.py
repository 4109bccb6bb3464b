"""How far a figure may be off: 95 % intervals of scores."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics.scores import Floats, Labels, Metric, Z, evenly


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


def of_answers(
    right: NDArray[np.bool_], labels: Labels, units: NDArray[np.int64]
) -> dict[str, float]:
    """The ends of the 95 % intervals of top-1 and macro recall, by their names."""
    ends = {"top1": accuracy(right, units), "macro_recall": macro_recall(right, labels, units)}
    return {
        f"{name}_{end}": value
        for name, pair in ends.items()
        for end, value in zip(("low", "high"), pair, strict=True)
    }


def macro_recall(
    right: NDArray[np.bool_], labels: Labels, units: NDArray[np.int64]
) -> tuple[float, float]:
    """95 % interval of the mean over classes of the share that is right.

    From the intervals of the classes by the method of variance estimates recovery (Zou and Donner,
    doi:10.1002/sim.3095), so that a class of few images, all right, is not taken to be without
    fault; no narrower than by units, which may have images of several classes.
    """
    ends = []
    for label in np.unique(labels):
        _, of = np.unique(units[labels == label], return_inverse=True)
        ends.append((right[labels == label].mean(), *accuracy(right[labels == label], of)))
    return combined(np.array(ends), right.astype(np.float64), labels, units, (0, 1))


def combined(
    of_classes: Floats,
    values: Floats,
    labels: Labels,
    units: NDArray[np.int64],
    within: tuple[float, float],
) -> tuple[float, float]:
    """95 % interval of a mean over classes of the means of N values.

    of_classes: K×3, of each class its mean and the ends of its interval.
    """
    means, lows, highs = of_classes.T
    middle, count = means.mean(), len(means)
    below = np.sqrt(((means - lows) ** 2).sum()) / count
    above = np.sqrt(((highs - means) ** 2).sum()) / count
    low, high = max(within[0], middle - below), min(within[1], middle + above)
    if units.max() + 1 < len(units):
        _, which = np.unique(labels, return_inverse=True)
        off = len(values) * evenly(labels) * (values - means[which])
        ends = mean_over_units(middle + off, units, within)
        low, high = min(low, ends[0]), max(high, ends[1])
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
    mean = float(values.mean())
    if not units.max():
        return within
    if error:
        return max(within[0], mean - spread * error), min(within[1], mean + spread * error)
    return alike(mean, independent(units), within)


def alike(value: float, count: float, within: tuple[float, float]) -> tuple[float, float]:
    """95 % interval of a mean where all that was seen is `value`: never a point.

    As Wilson's interval has it for none or all of `count`: a share of z² / (count + z²) may be
    otherwise, and as far off as can be.
    """
    unseen = Z**2 / (count + Z**2)
    return value - unseen * (value - within[0]), value + unseen * (within[1] - value)


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
    if half == 0:  # the variance is at most that of so many trials (Birnbaum and Klose, 1957)
        return value, *alike(value, min(len(known), len(unknown)), (0, 1))
    return value, max(0.0, value - half), min(1.0, value + half)


def _beaten(scores: Floats, others: Floats) -> Floats:
    """Share of `others` below each score; a tie counts half."""
    ranked = np.sort(others)
    below, up_to = (np.searchsorted(ranked, scores, side) for side in ("left", "right"))
    share: Floats = (below + up_to) / 2 / len(ranked)
    return share


def mean_interval(
    values: Floats, *, alpha: float = 0.05, least: float = 0.0
) -> tuple[float, float]:
    """Student-t interval, of confidence 1 − alpha, of the mean of two runs or more.

    least: the variance is taken to be no smaller, as by the rounding of scores.
    """
    from scipy import stats

    half = float(stats.t.isf(alpha / 2, len(values) - 1)) * standard_error(values, least)
    return float(values.mean()) - half, float(values.mean()) + half


def standard_error(values: Floats, least: float = 0.0) -> float:
    """Of the mean of two runs or more, whose variance is at least `least`."""
    return float(np.sqrt(max(values.var(ddof=1), least) / len(values)))
