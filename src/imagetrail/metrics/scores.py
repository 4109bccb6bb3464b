"""What predictions are worth: METRICS by name, and the curves that show them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """A function of means over images: to judge resampled ones, it is enough to weigh the parts."""

    # of probabilities N×K and labels N: what each image adds, N×P
    parts: Callable[[Floats, Labels], Floats]
    # of means …×P: the metric, of shape …
    value: Callable[[Floats], Floats] = lambda means: means[..., 0]

    def __call__(self, probabilities: Floats, labels: Labels) -> float:
        return float(self.value(self.parts(probabilities, labels).mean(0)))


def top(k: int) -> Metric:
    """Share of images whose label is among the `k` highest probabilities.

    Of equal probabilities that of the first class is the higher.
    """

    def right(probabilities: Floats, labels: Labels) -> Floats:
        ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
        found: Floats = (ranked == labels[:, None]).any(1, keepdims=True).astype(np.float64)
        return found

    return Metric(right)


def _f1_parts(probabilities: Floats, labels: Labels) -> Floats:
    one_hot = np.eye(probabilities.shape[1])
    labelled, predicted = one_hot[labels], one_hot[probabilities.argmax(1)]
    return np.hstack([labelled * predicted, labelled + predicted])


def _f1(means: Floats) -> Floats:
    hits, claimed = np.split(means, 2, axis=-1)
    scores: Floats = np.divide(2 * hits, claimed, out=np.zeros_like(hits), where=claimed > 0)
    mean: Floats = scores.sum(-1) / (claimed > 0).sum(-1)
    return mean


def _recall_parts(probabilities: Floats, labels: Labels) -> Floats:
    labelled = np.eye(probabilities.shape[1])[labels]
    right = probabilities.argmax(1) == labels
    return np.hstack([labelled * right[:, None], labelled])


def _macro_recall(means: Floats) -> Floats:
    hits, labelled = np.split(means, 2, axis=-1)
    recalls: Floats = np.divide(hits, labelled, out=np.zeros_like(hits), where=labelled > 0)
    mean: Floats = recalls.sum(-1) / (labelled > 0).sum(-1)
    return mean


def evenly(labels: Labels) -> Floats:
    """Weights N of sum 1, in sum the same for each class that there is: macro recall's."""
    _, which, images = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(1 / (len(images) * images[which]), np.float64)


def _ece_parts(probabilities: Floats, labels: Labels) -> Floats:
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    gaps: Floats = np.eye(BINS)[_bin(confidence)] * (right - confidence)[:, None]
    return gaps


def _bin(confidence: Floats) -> NDArray[np.int64]:
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


top1 = top(1)

# mean negative log-probability of the label, in nats
log_loss = Metric(
    lambda probabilities, labels: (
        -np.log(np.maximum(np.take_along_axis(probabilities, labels[:, None], 1), 1e-12))
    )
)

# mean squared distance of the probabilities to the one-hot label, from 0 to 2
brier = Metric(
    lambda probabilities, labels: (
        (probabilities - np.eye(probabilities.shape[1])[labels]) ** 2
    ).sum(1, keepdims=True)
)

# unweighted mean over classes of 2·TP / (2·TP + FP + FN), without those never seen nor predicted
macro_f1 = Metric(_f1_parts, _f1)

# unweighted mean over classes of the share of their images that is right: balanced accuracy
macro_recall = Metric(_recall_parts, _macro_recall)

# expected calibration error: |accuracy − confidence|, averaged over bins (arXiv:1706.04599)
ece = Metric(_ece_parts, lambda means: np.abs(means).sum(-1))

METRICS: dict[str, Metric] = {
    "top1": top1,
    "macro_f1": macro_f1,
    "macro_recall": macro_recall,
    "log_loss": log_loss,
    "brier": brier,
    "ece": ece,
}


def reliability(probabilities: Floats, labels: Labels) -> list[tuple[float, float, float]]:
    """(share of images, accuracy, mean confidence) of every non-empty bin of confidence."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = _bin(confidence)
    filled = [which == i for i in range(BINS) if (which == i).any()]
    return [
        (float(mask.mean()), float(right[mask].mean()), float(confidence[mask].mean()))
        for mask in filled
    ]


def confusion(probabilities: Floats, labels: Labels) -> NDArray[np.int64]:
    """K×K counts, rows the label, columns the prediction."""
    classes = probabilities.shape[1]
    flat = np.bincount(labels * classes + probabilities.argmax(1), minlength=classes**2)
    return flat.reshape(classes, classes)


def coverage(probabilities: Floats, labels: Labels) -> tuple[Floats, Floats]:
    """Confidence of each image, most confident first, and the accuracy on the images so far.

    Images of equal confidence count with their mean, so that their order does not matter. See
    arXiv:1705.08500.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    _, group, size = np.unique(-confidence, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    mean = np.bincount(group, right) / size
    accuracy: Floats = np.cumsum(mean[group[order]]) / np.arange(1, len(labels) + 1)
    return confidence[order], accuracy
