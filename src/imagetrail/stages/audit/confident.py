"""Which labels are wrong, by the answers of models that have not seen the picture.

Confident learning (Northcutt, Jiang and Chuang, Journal of Artificial Intelligence Research 70,
2021; arXiv:1911.00068) counts how often pictures labelled i are confidently of class j, which
tells how often j is mislabelled i. With that and the model's probabilities, Bayes' rule gives what
a picture is, its label known. No torch, no files.

Two things differ from the paper. Probabilities are calibrated first, since a network trained with
smoothed and partly wrong labels has a floor under every class that hides the difference between
an unlikely and an impossible label; and the flags follow from the posterior, not from a count of
pictures to prune. Of Fashion-MNIST with 5 % of labels flipped, 86 % are found at a precision of
85 % (F1 86 %); the paper's rule has an F1 of 70 % on the same probabilities
(benchmarks/label_errors.py).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics.calibration import Calibration
from imagetrail.metrics.intervals import wilson
from imagetrail.metrics.scores import Floats, Labels, confusion

ENOUGH = 20_000  # pictures that three numbers are fitted on, at most


@dataclass(frozen=True)
class Judgement:
    """What is thought of N labels, of K classes."""

    probabilities: Floats  # N×K, of the true class, the given label unknown
    wrong: Floats  # N: probability that the given label is wrong
    suggested: Labels  # N: the likeliest class other than the given label
    flagged: NDArray[np.bool_]  # N: the suggestion is likelier right than not
    told: NDArray[np.bool_]  # K: the classes whose labels are judged


def nothing(classes: int) -> Judgement:
    """What is thought of no labels."""
    some, none = np.empty(0), np.zeros(classes, bool)
    return Judgement(np.empty((0, classes)), some, some.astype(np.int64), some.astype(bool), none)


def judge(logits: Floats, labels: Labels, *, known: NDArray[np.bool_]) -> Judgement:
    """Judges labels N by logits N×K of models that have not seen these pictures.

    known: of the classes, those that every model has seen. Labels of others are not flagged, nor
    are those of a class that the models do not tell from the others: they cannot judge it.
    """
    probabilities = calibrate(logits, labels)(logits)
    noise = noise_matrix(confident_joint(probabilities, labels), labels)
    told = _told(probabilities, labels) & known
    wrong, suggested = np.zeros(len(labels)), labels.copy()
    flagged = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = labels == label
        posterior = probabilities[rows] * noise[:, label]
        posterior /= posterior.sum(1, keepdims=True)
        wrong[rows] = 1 - posterior[:, label]
        others = posterior.copy()
        others[:, label] = -1
        suggested[rows] = others.argmax(1)
        flagged[rows] = told[label] & (others.max(1) > 0.5)
    return Judgement(probabilities, wrong, suggested, flagged, told)


def calibrate(logits: Floats, labels: Labels) -> Calibration:
    """The calibration of least log-loss where a share of the labels is drawn blindly.

    Of three numbers, temperature, bend and that share, the likeliest are found together: without
    the share, wrong labels would count as proof that the impossible happens.
    """
    from scipy import optimize

    step = -(-len(labels) // ENOUGH)
    some, given = logits[::step], labels[::step]
    own = np.arange(len(given)), given
    others = max(1, logits.shape[1] - 1)

    def calibration(at: Floats) -> Calibration:
        return Calibration(float(np.exp(at[0])), float(at[1]))

    def loss(at: Floats) -> float:
        right = calibration(at)(some)[own]
        blind = 1 / (1 + np.exp(-at[2]))
        likelihood = (1 - blind) * right + blind * (1 - right) / others
        # a weak prior, for few pictures: undistorted logits, 5 % of labels wrong
        prior = at[0] ** 2 + at[1] ** 2 + (at[2] + 3) ** 2 / 8
        return float(-np.log(np.maximum(likelihood, 1e-300)).mean() + prior / len(given))

    bounds = ((-3, 3), (0, 2), (-15, 0))
    found = optimize.minimize(loss, (0.0, 0.1, -3.0), method="Nelder-Mead", bounds=bounds).x
    return calibration(np.round(found, 6))


def thresholds(probabilities: Floats, labels: Labels) -> Floats:
    """For each class the mean probability of it among the pictures labelled so; ∞ without any.

    t_j of the paper.
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, probabilities[np.arange(len(labels)), labels], classes)
    found: Floats = np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)
    return found


def confident_joint(probabilities: Floats, labels: Labels) -> NDArray[np.int64]:
    """K×K: how many pictures labelled i are confidently of class j.

    Confidently: of the classes whose probability reaches its threshold, j has the highest.
    """
    classes = probabilities.shape[1]
    # a mean of equal numbers may be above them by a rounding
    reached = probabilities >= thresholds(probabilities, labels) * (1 - 1e-9)
    confident = reached.any(1)
    best = np.where(reached, probabilities, -1).argmax(1)
    pairs = (labels * classes + best)[confident]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def noise_matrix(joint: NDArray[np.int64], labels: Labels) -> Floats:
    """K×K: the chance that a picture of class j is labelled i, at [j, i].

    Each row of the joint is first scaled to the number of pictures labelled so. A class that no
    picture is confidently of is taken to be labelled right.
    """
    classes = len(joint)
    counts = np.bincount(labels, minlength=classes)
    sure = joint + np.diag(np.where(joint.sum(1) == 0, 1, 0))
    scaled = sure / sure.sum(1, keepdims=True) * counts[:, None]
    of_class = scaled.sum(0)[:, None]
    matrix = np.eye(classes)
    np.divide(scaled.T, of_class, out=matrix, where=of_class > 0)
    return matrix


def _told(probabilities: Floats, labels: Labels) -> NDArray[np.bool_]:
    """Of each class, whether the models tell it from the others.

    Its pictures are taken for it more often than for any other class, and more often than other
    pictures are, by more than chance.
    """
    taken = confusion(probabilities, labels)
    own, labelled, answered = taken.diagonal(), taken.sum(1), taken.sum(0)
    low, _ = wilson(own, labelled)
    of_others = (answered - own) / np.maximum(len(labels) - labelled, 1)
    told: NDArray[np.bool_] = (own == taken.max(1)) & (low > of_others)
    return told
