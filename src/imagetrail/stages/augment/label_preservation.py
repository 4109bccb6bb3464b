"""Does a changed image still look like its class? A light classifier answers in a second."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imagetrail.base.samples import Images

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
SIDE = 32  # pixels: larger images are brought down to it
CELLS = 7  # of the grid, a side
ORIENTATIONS = 8
COLOUR = 0.5  # weight beside the gradients
WIDTH, RIDGE = 0.5, 0.1  # squared width of the kernel; of the penalty on its weights
TOLERANCE = 0.005  # of margin: less is no harm worth telling


@dataclass(frozen=True)
class Preservation:
    """How well the labels of some images survive a change; shares are 0 … 1."""

    before: float  # share recognised as they were, by a classifier that learned from all the others
    after: float  # share that the same classifier recognises once changed
    lost: int  # images recognised before, and not after
    worst_class: int  # the label that loses the largest share
    worst_lost: float  # that share
    margin: float  # mean change of the real images' margin when the changed ones are learned too
    p: float  # chance of such a fall of the margin, or a deeper one, if it is TOLERANCE or less


def preservation(images: Images, changed: Images, labels: Labels) -> Preservation:
    """Compares `images` with `changed`, the i-th made from the i-th; needs two classes.

    That a change makes images unfamiliar does not yet make it bad: a shoe that points the other way
    is still a shoe, and learning it costs nothing. A change destroys labels if what it makes of one
    class gets into the way of another: then learning the changed images makes the real ones harder
    to tell. `margin` measures that: of the score of the right class over the best other one, where
    1 is certain, on real images left out together with their changed twin.
    """
    features, new = _features(images), _features(changed)
    _, labels = np.unique(labels, return_inverse=True)
    inverse, weights, targets = _fit(features, labels)
    scores = targets - weights / inverse.diagonal()[:, None]
    before = scores.argmax(1) == labels
    after = _answers(features, new, inverse, weights).argmax(1) == labels
    difference = _margins(_without_twins(features, new, labels), labels) - _margins(scores, labels)
    gone = before & ~after
    by_class = np.bincount(labels, gone) / np.bincount(labels)
    return Preservation(
        before=float(before.mean()),
        after=float(after.mean()),
        lost=int(gone.sum()),
        worst_class=int(by_class.argmax()),
        worst_lost=float(by_class.max()),
        margin=float(difference.mean()),
        p=_below(difference, -TOLERANCE),
    )


def _features(images: Images) -> Floats:
    """N×D: histograms of oriented gradients, and colours, on one coarse, soft grid.

    See Dalal and Triggs, CVPR 2005. Square-rooted and of length 1 (Arandjelović and Zisserman, CVPR
    2012), so that neither contrast nor a shift by a pixel means much.
    """
    return np.concatenate(
        [_describe(images[start : start + 256]) for start in range(0, len(images), 256)]
    )


def _describe(images: Images) -> Floats:
    count, height, width, _ = images.shape
    if max(height, width) > SIDE:
        images = np.stack(
            [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]
        )
        images = images.reshape(count, SIDE, SIDE, -1)
    values = images.astype(np.float64) / 255
    down, right = np.gradient(values.mean(3), axis=(1, 2))
    angles = 2 * np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS
    along = np.maximum(0, right[..., None] * np.cos(angles) + down[..., None] * np.sin(angles))
    gradients = np.sqrt(_pooled(along**2 / (np.hypot(right, down)[..., None] + 1e-6)))
    return np.hstack([_unit(gradients), COLOUR * _unit(_pooled(values))])


def _pooled(values: Floats) -> Floats:
    """N×H×W×C to N×D: means over cells that fade out linearly to their neighbours' centres."""
    rows, columns = (_cells(size) for size in values.shape[1:3])
    pooled: Floats = np.einsum("ch,nhwo,dw->ncdo", rows, values, columns, optimize=True)
    return pooled.reshape(len(values), -1)


def _cells(size: int) -> Floats:
    centres = (np.arange(CELLS) + 0.5) * size / CELLS
    near = np.maximum(0, 1 - np.abs(np.arange(size) + 0.5 - centres[:, None]) * CELLS / size)
    near[np.arange(CELLS), centres.astype(int)] += 1e-6  # fewer pixels than cells: none is empty
    weights: Floats = near / near.sum(1, keepdims=True)
    return weights


def _unit(values: Floats) -> Floats:
    unit: Floats = values / (np.linalg.norm(values, axis=1, keepdims=True) + 1e-6)
    return unit


def _kernel(some: Floats, others: Floats) -> Floats:
    squares = (some**2).sum(1)[:, None] + (others**2).sum(1) - 2 * some @ others.T
    kernel: Floats = np.exp(-squares / (2 * WIDTH))
    return kernel


def _fit(features: Floats, labels: Labels) -> tuple[Floats, Floats, Floats]:
    """Kernel ridge regression on ±1 targets: the inverse N×N, the weights and the targets N×K."""
    inverse = np.asarray(
        np.linalg.inv(_kernel(features, features) + RIDGE * np.eye(len(features))), np.float64
    )
    targets = 2.0 * np.eye(labels.max() + 1)[labels] - 1
    return inverse, inverse @ targets, targets


def _answers(features: Floats, new: Floats, inverse: Floats, weights: Floats) -> Floats:
    """Scores N×K of the i-th new image by a classifier that learned from all features but the i-th.

    In closed form.
    """
    kernel = _kernel(new, features)
    own = np.einsum("ij,ji->i", kernel, inverse) / inverse.diagonal()
    answers: Floats = kernel @ weights - own[:, None] * weights
    return answers


def _without_twins(features: Floats, new: Floats, labels: Labels) -> Floats:
    """Scores N×K of the i-th image by a classifier that learned from all, old and new, but it."""
    inverse, weights, targets = _fit(np.vstack([features, new]), np.concatenate([labels, labels]))
    first = np.arange(len(features))
    both = np.stack([first, first + len(first)], 1)  # N×2
    residuals = np.linalg.solve(inverse[both[:, :, None], both[:, None, :]], weights[both])
    scores: Floats = targets[first] - residuals[:, 0]
    return scores


def _margins(scores: Floats, labels: Labels) -> Floats:
    """Of the right class over the best other one, halved: targets are 2 apart."""
    own = np.take_along_axis(scores, labels[:, None], 1)[:, 0]
    others = scores.copy()
    np.put_along_axis(others, labels[:, None], -np.inf, 1)
    margins: Floats = (own - others.max(1)) / 2
    return margins


def _below(values: Floats, bound: float) -> float:
    """One-sided p of Student's t-test that the mean of `values` is below `bound`."""
    from scipy.special import stdtr  # here: its import takes a while

    spread = float(values.std(ddof=1)) / len(values) ** 0.5
    return float(stdtr(len(values) - 1, (values.mean() - bound) / spread)) if spread else 1.0
