"""What predictions are worth: point metrics by name, bootstrap intervals, calibration and paired tests. No torch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# scipy's parts are imported where they are used: together they take half a second, and most stages need none
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    normalised: Floats = shifted / shifted.sum(1, keepdims=True)
    return normalised


def top1(probabilities: Floats, labels: Labels) -> float:
    """Share of labels that have the highest probability."""
    return float((probabilities.argmax(1) == labels).mean())


def log_loss(probabilities: Floats, labels: Labels) -> float:
    """Mean negative log-probability of the label, in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def macro_f1(probabilities: Floats, labels: Labels) -> float:
    """Unweighted mean over classes of 2·TP / (2·TP + FP + FN); a class never seen nor predicted is left out."""
    table = confusion(probabilities, labels)
    claimed = table.sum(0) + table.sum(1)
    return float((2 * table.diagonal()[claimed > 0] / claimed[claimed > 0]).mean())


def brier(probabilities: Floats, labels: Labels) -> float:
    """Mean squared distance of the probabilities to the one-hot label, from 0 to 2."""
    return float(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(1).mean())


def ece(probabilities: Floats, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error: |accuracy − confidence|, averaged over equal-width bins (arXiv:1706.04599)."""
    return float(
        sum(share * abs(accuracy - confidence) for share, accuracy, confidence in reliability(probabilities, labels, bins))
    )


METRICS: dict[str, Callable[[Floats, Labels], float]] = {
    "top1": top1,
    "macro_f1": macro_f1,
    "log_loss": log_loss,
    "brier": brier,
    "ece": ece,
}


def reliability(probabilities: Floats, labels: Labels, bins: int = 15) -> list[tuple[float, float, float]]:
    """(share of images, accuracy, mean confidence) of every non-empty bin of confidence."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    filled = [which == i for i in range(bins) if (which == i).any()]
    return [(float(mask.mean()), float(right[mask].mean()), float(confidence[mask].mean())) for mask in filled]


def confusion(probabilities: Floats, labels: Labels) -> NDArray[np.int64]:
    """K×K counts, rows the label, columns the prediction."""
    classes = probabilities.shape[1]
    flat = np.bincount(labels * classes + probabilities.argmax(1), minlength=classes**2)
    return flat.reshape(classes, classes)


def bootstrap(
    metric: Callable[[Floats, Labels], float], probabilities: Floats, labels: Labels, rng: np.random.Generator, *, draws: int
) -> tuple[float, float]:
    """Percentile 95 % interval of a metric over resampled images."""
    count = len(labels)
    values = []
    for _ in range(draws):
        chosen = rng.integers(0, count, count)
        values.append(metric(probabilities[chosen], labels[chosen]))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def temperature(logits: Floats, labels: Labels) -> float:
    """The divisor of the logits that minimises log-loss (arXiv:1706.04599)."""
    from scipy import optimize

    found = optimize.minimize_scalar(
        lambda log_t: log_loss(softmax(logits / np.exp(log_t)), labels), bounds=(-3, 3), method="bounded"
    )
    return float(np.exp(found.x))


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

    return found, end(-1 + 1e-9, found, 1.96) if found > -1 else -1.0, end(found, 1 - 1e-9, -1.96) if found < 1 else 1.0


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


def paired_p(ours: Floats, reference: Floats) -> float:
    """Two-sided paired t-test over seeds; 1 where the runs are alike or too few."""
    difference = ours - reference
    if len(difference) < 2 or np.ptp(difference) == 0:
        return 1.0
    from scipy import stats

    return float(stats.ttest_rel(ours, reference).pvalue)
