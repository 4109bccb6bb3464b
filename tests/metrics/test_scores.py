"""Metrics against scikit-learn, on random answers of a few and of many classes."""

import numpy as np
import pytest
from sklearn import metrics as peer
from sklearn.calibration import calibration_curve

from imagetrail.metrics import scores
from imagetrail.metrics.scores import BINS, Floats, Labels


@pytest.fixture(
    params=[(2, 30), (4, 500), (10, 5), (10, 2000)], ids=lambda size: f"{size[1]}x{size[0]}"
)
def answers(request: pytest.FixtureRequest) -> tuple[Floats, Labels]:
    """Probabilities N×K and labels that the likeliest class meets in about two cases of three."""
    classes, count = request.param
    rng = np.random.default_rng(classes * count)
    probabilities = scores.softmax(3 * rng.normal(size=(count, classes)))
    guessed = rng.integers(0, classes, count)
    return probabilities, np.where(rng.random(count) < 0.6, probabilities.argmax(1), guessed)


def sklearn_ece(probabilities: Floats, labels: Labels) -> float:
    """scikit-learn has the curve, and leaves the mean over the bins to the user."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    accuracy, mean = calibration_curve(right, confidence, n_bins=BINS, strategy="uniform")
    counts = np.histogram(confidence, BINS, (0, 1))[0]
    return float(counts[counts > 0] @ np.abs(accuracy - mean)) / len(labels)


def classes_of(probabilities: Floats) -> range:
    return range(probabilities.shape[1])


PEERS = {
    "top1": lambda p, y: peer.accuracy_score(y, p.argmax(1)),
    "macro_f1": lambda p, y: peer.f1_score(y, p.argmax(1), average="macro", zero_division=0),
    "macro_recall": lambda p, y: peer.recall_score(
        y, p.argmax(1), labels=np.unique(y), average="macro"
    ),
    "log_loss": lambda p, y: peer.log_loss(y, p, labels=classes_of(p)),
    "brier": lambda p, y: peer.brier_score_loss(y, p, labels=classes_of(p), scale_by_half=False),
    "ece": sklearn_ece,
}


@pytest.mark.parametrize("name", PEERS)
def test_a_metric_that_scikit_learn_has_is_that_of_scikit_learn(
    name: str, answers: tuple[Floats, Labels]
) -> None:
    assert scores.METRICS[name](*answers) == pytest.approx(PEERS[name](*answers), rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_is_that_of_scikit_learn(k: int, answers: tuple[Floats, Labels]) -> None:
    probabilities, labels = answers
    k = min(k, probabilities.shape[1] - 1)
    if probabilities.shape[1] == 2:  # scikit-learn wants the second class alone
        expected = peer.top_k_accuracy_score(labels, probabilities[:, 1] - 0.5, k=k, labels=[0, 1])
    else:
        known = classes_of(probabilities)
        expected = peer.top_k_accuracy_score(labels, probabilities, k=k, labels=known)
    assert scores.top(k)(probabilities, labels) == pytest.approx(expected)


def test_the_table_of_confusion_is_that_of_scikit_learn(answers: tuple[Floats, Labels]) -> None:
    probabilities, labels = answers
    known = classes_of(probabilities)
    expected = peer.confusion_matrix(labels, probabilities.argmax(1), labels=known)
    assert (scores.confusion(probabilities, labels) == expected).all()


def test_the_reliability_curve_is_that_of_scikit_learn(answers: tuple[Floats, Labels]) -> None:
    probabilities, labels = answers
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = calibration_curve(right, confidence, n_bins=BINS, strategy="uniform")
    share, accuracy, mean = zip(*scores.reliability(probabilities, labels), strict=True)
    assert sum(share) == pytest.approx(1)
    assert accuracy == pytest.approx(expected[0]) and mean == pytest.approx(expected[1])


def test_of_equal_probabilities_that_of_the_first_class_is_the_higher() -> None:
    even = np.array([[0.4, 0.4, 0.2]])
    assert [scores.top1(even, np.array([label])) for label in (0, 1)] == [1, 0]
    assert scores.top(2)(even, np.array([1])) == 1


def test_a_probability_of_zero_for_the_label_costs_much_and_not_everything() -> None:
    assert 25 < scores.log_loss(np.array([[0.0, 1.0]]), np.array([0])) < 30


def test_coverage_answers_the_most_confident_first_and_ties_in_no_order() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.7, 0.3]])
    labels = np.array([0, 0, 1, 0])
    confidence, accuracy = scores.coverage(probabilities, labels)
    assert confidence == pytest.approx([0.9, 0.7, 0.7, 0.6])
    assert accuracy == pytest.approx([1, 1.5 / 2, 2 / 3, 2 / 4])
    assert scores.coverage(probabilities[::-1], labels[::-1])[1] == pytest.approx(accuracy)
