"""What predictions are worth: point metrics by name, intervals, calibration error and paired tests. No torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# scipy's parts are imported where they are used: together they take half a second, and most stages need none
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
BINS = 15  # of confidence, equally wide
Z = 1.959964  # standard deviations to either side of a normal distribution's middle 95 %


def softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    normalised: Floats = shifted / shifted.sum(1, keepdims=True)
    return normalised


@dataclass(frozen=True)
class Metric:
    """A function of means over images; so to judge resampled images, it is enough to weigh the parts anew."""

    parts: Callable[[Floats, Labels], Floats]  # of probabilities N×K and labels N: what each image adds, N×P
    value: Callable[[Floats], Floats] = lambda means: means[..., 0]  # of means …×P: the metric, of shape …

    def __call__(self, probabilities: Floats, labels: Labels) -> float:
        return float(self.value(self.parts(probabilities, labels).mean(0)))


def top(k: int) -> Metric:
    """Share of images whose label is among the `k` highest probabilities; of equal ones the first class is the higher."""

    def right(probabilities: Floats, labels: Labels) -> Floats:
        ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
        found: Floats = (ranked == labels[:, None]).any(1, keepdims=True).astype(np.float64)
        return found

    return Metric(right)


def _f1_parts(probabilities: Floats, labels: Labels) -> Floats:
    labelled, predicted = (np.eye(probabilities.shape[1])[numbers] for numbers in (labels, probabilities.argmax(1)))
    return np.hstack([labelled * predicted, labelled + predicted])


def _f1(means: Floats) -> Floats:
    hits, claimed = np.split(means, 2, axis=-1)
    scores: Floats = np.divide(2 * hits, claimed, out=np.zeros_like(hits), where=claimed > 0)
    mean: Floats = scores.sum(-1) / (claimed > 0).sum(-1)
    return mean


def _ece_parts(probabilities: Floats, labels: Labels) -> Floats:
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    gaps: Floats = np.eye(BINS)[_bin(confidence)] * (right - confidence)[:, None]
    return gaps


def _bin(confidence: Floats) -> NDArray[np.int64]:
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


top1 = top(1)

# mean negative log-probability of the label, in nats
log_loss = Metric(
    lambda probabilities, labels: -np.log(np.maximum(np.take_along_axis(probabilities, labels[:, None], 1), 1e-12))
)

# mean squared distance of the probabilities to the one-hot label, from 0 to 2
brier = Metric(
    lambda probabilities, labels: ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(1, keepdims=True)
)

# unweighted mean over classes of 2·TP / (2·TP + FP + FN); a class never seen nor predicted is left out
macro_f1 = Metric(_f1_parts, _f1)

# expected calibration error: |accuracy − confidence|, averaged over equal-width bins (arXiv:1706.04599)
ece = Metric(_ece_parts, lambda means: np.abs(means).sum(-1))

METRICS: dict[str, Metric] = {
    "top1": top1,
    "macro_f1": macro_f1,
    "log_loss": log_loss,
    "brier": brier,
    "ece": ece,
}


def reliability(probabilities: Floats, labels: Labels) -> list[tuple[float, float, float]]:
    """(share of images, accuracy, mean confidence) of every non-empty bin of confidence."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = _bin(confidence)
    filled = [which == i for i in range(BINS) if (which == i).any()]
    return [(float(mask.mean()), float(right[mask].mean()), float(confidence[mask].mean())) for mask in filled]


def confusion(probabilities: Floats, labels: Labels) -> NDArray[np.int64]:
    """K×K counts, rows the label, columns the prediction."""
    classes = probabilities.shape[1]
    flat = np.bincount(labels * classes + probabilities.argmax(1), minlength=classes**2)
    return flat.reshape(classes, classes)


def bootstrap(
    judged: Mapping[str, tuple[Metric, Floats]], labels: Labels, rng: np.random.Generator, *, draws: int
) -> dict[str, tuple[float, float]]:
    """Percentile 95 % interval of each metric, on its probabilities, over the same resampled images.

    Resampling adds to a calibration error, never takes away: its interval errs on the high side and may not hold the value.
    """
    parts = {name: metric.parts(probabilities, labels) for name, (metric, probabilities) in judged.items()}
    means = resampled(np.hstack(list(parts.values())), rng, draws=draws)
    ends = np.cumsum([part.shape[1] for part in parts.values()])
    return {
        name: interval(metric.value(mine))
        for (name, (metric, _)), mine in zip(judged.items(), np.split(means, ends[:-1], axis=1), strict=True)
    }


def resampled(parts: Floats, rng: np.random.Generator, *, draws: int) -> Floats:
    """The means of N×P parts over `draws` resamples of N images, draws×P: a product with how often each was drawn."""
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
    """Wilson's 95 % interval of the share `right` / `count`, honest for few images too (doi:10.2307/2276774)."""
    count = np.maximum(count, 1)
    share, spread = right / count, Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z * np.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def coverage(probabilities: Floats, labels: Labels) -> tuple[Floats, Floats]:
    """Confidence of each image, most confident first, and the accuracy on the images so far (arXiv:1705.08500).

    Images of equal confidence count with their mean, so that their order does not matter.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    _, group, size = np.unique(-confidence, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    mean = np.bincount(group, right) / size
    accuracy: Floats = np.cumsum(mean[group[order]]) / np.arange(1, len(labels) + 1)
    return confidence[order], accuracy


def auroc(known: Floats, unknown: Floats) -> tuple[float, float, float]:
    """Chance that a known image scores higher than an unknown one, and its 95 % interval (DeLong, doi:10.2307/2531595)."""
    above, below = _beaten(known, unknown), _beaten(unknown, known)
    half = Z * np.sqrt(above.var() / len(known) + below.var() / len(unknown))
    value = float(above.mean())
    return value, max(0.0, value - half), min(1.0, value + half)


def _beaten(scores: Floats, others: Floats) -> Floats:
    """Share of `others` below each score; a tie counts half."""
    ranked = np.sort(others)
    share: Floats = (np.searchsorted(ranked, scores, "left") + np.searchsorted(ranked, scores, "right")) / 2 / len(ranked)
    return share


def mean_interval(values: Floats) -> tuple[float, float]:
    """Student-t 95 % interval of the mean of a few runs; a point if there is only one."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    from scipy import stats

    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Images only ours gets right, images only theirs does, and the exact one-sided p that ours is no better."""
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if only_ours + only_theirs == 0:
        return 0, 0, 1.0
    from scipy import stats

    p = stats.binomtest(only_ours, only_ours + only_theirs, 0.5, alternative="greater").pvalue
    return only_ours, only_theirs, float(p)


def tango(only_ours: int, only_theirs: int, images: int, difference: float) -> float:
    """Tango's score statistic: how far a paired difference in accuracy is above `difference`, standard normal if it is that.

    Tango, Statistics in Medicine 17, 1998. Unlike a normal approximation it holds where the two hardly ever disagree.
    """
    a, c = 2 * images, -only_theirs * difference * (1 - difference)
    b = -only_ours - only_theirs + (2 * images - only_ours + only_theirs) * difference
    share = (np.sqrt(max(b**2 - 4 * a * c, 0.0)) - b) / (2 * a)  # likeliest share of images that only theirs gets right
    variance = images * (2 * share + difference * (1 - difference))
    return float((only_ours - only_theirs - images * difference) / np.sqrt(max(variance, 1e-12)))


def paired_interval(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Ours minus theirs in accuracy on the same images, and its 95 % score interval (Tango)."""
    from scipy import optimize

    images, (only_ours, only_theirs, _) = len(ours), mcnemar(ours, theirs)
    found = (only_ours - only_theirs) / images

    def end(low: float, high: float, z: float) -> float:
        return float(optimize.brentq(lambda d: tango(only_ours, only_theirs, images, d) - z, low, high))

    return found, end(-1 + 1e-9, found, Z) if found > -1 else -1.0, end(found, 1 - 1e-9, -Z) if found < 1 else 1.0


def noninferiority(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], margin: float) -> float:
    """One-sided p that ours is worse by `margin` or more in accuracy (Tango's score test); 1 without images."""
    if len(ours) == 0:
        return 1.0
    from scipy import stats

    only_ours, only_theirs, _ = mcnemar(ours, theirs)
    return float(stats.norm.sf(tango(only_ours, only_theirs, len(ours), -margin)))


def minimal_effect(disagreements: int, images: int, alpha: float, power: float = 0.8) -> float:
    """The smallest gain in accuracy that the exact McNemar test would have found with this power.

    Given how many images the two models judge differently, or else as many as a finding takes if all favour ours.
    """
    from scipy import stats

    count = max(disagreements, int(np.ceil(-np.log2(alpha))))
    needed = int(stats.binom.isf(alpha, count, 0.5)) + 1  # the fewest for ours that are significant
    share = float(stats.beta.ppf(power, needed, count - needed + 1))  # at which so many come up with this power
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
