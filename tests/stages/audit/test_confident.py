"""Confident learning against the definitions of arXiv:1911.00068, worked out by hand."""

import numpy as np
import pytest

from imagetrail.metrics.scores import softmax
from imagetrail.stages.audit import confident

BY_HAND = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.45, 0.55]])
GIVEN = np.array([0, 0, 0, 1, 1, 1])


def test_a_threshold_is_the_mean_confidence_in_a_class_of_the_pictures_labelled_so() -> None:
    assert confident.thresholds(BY_HAND, GIVEN) == pytest.approx([0.6, 0.65])


def test_the_confident_joint_counts_who_reaches_a_threshold() -> None:
    joint = confident.confident_joint(BY_HAND, GIVEN)
    assert joint.tolist() == [[2, 1], [0, 1]]  # the last two reach none


def test_of_several_thresholds_reached_the_likeliest_class_counts() -> None:
    probabilities = np.array([[0.3, 0.4, 0.3], [0.35, 0.25, 0.4], [0.3, 0.2, 0.5], [0.2, 0.4, 0.4]])
    labels = np.array([0, 1, 2, 2])  # thresholds 0.3, 0.25 and 0.45
    joint = confident.confident_joint(probabilities, labels)
    assert joint.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 1]]


def test_a_class_without_pictures_is_never_one_to_be_confident_of() -> None:
    wide = np.hstack([BY_HAND * 0.2, np.full((6, 1), 0.8)])
    assert confident.confident_joint(wide, GIVEN)[:, 2].sum() == 0


def test_the_noise_matrix_is_the_chance_of_a_label_given_the_class() -> None:
    joint = confident.confident_joint(BY_HAND, GIVEN)
    # rows scaled to 3 pictures each: [[2, 1], [0, 3]]; of class 1 a quarter is labelled 0
    assert confident.noise_matrix(joint, GIVEN) == pytest.approx(np.array([[1, 0], [0.25, 0.75]]))


def test_noise_that_goes_one_way_is_estimated_and_found() -> None:
    """Of class 0 one in five is labelled 1, none the other way; models are right and say so."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 6000)
    labels = np.where((true == 0) & (rng.random(6000) < 0.2), 1, true)
    logits = 6 * np.eye(3)[true] + rng.normal(size=(6000, 3))
    probabilities = confident.calibrate(logits, labels)(logits)
    joint = confident.confident_joint(probabilities, labels)
    noise = confident.noise_matrix(joint, labels)
    assert noise == pytest.approx(np.array([[0.8, 0.2, 0], [0, 1, 0], [0, 0, 1]]), abs=0.02)
    judged = confident.judge(logits, labels, known=np.ones(3, bool))
    wrong = labels != true
    assert judged.flagged[wrong].mean() > 0.97 and wrong[judged.flagged].mean() > 0.97
    assert (judged.suggested == true)[judged.flagged].mean() > 0.97
    assert judged.wrong.sum() == pytest.approx(wrong.sum(), rel=0.1)


def test_probabilities_are_calibrated_to_the_true_class_though_labels_are_wrong() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 5)) * 3
    chance = softmax(logits).cumsum(1)
    true = np.minimum((rng.random((20_000, 1)) > chance).sum(1), 4)
    flip = rng.random(20_000) < 0.1
    labels = np.where(flip, (true + rng.integers(1, 5, 20_000)) % 5, true)
    found = confident.calibrate(logits / 2, labels)
    assert found.temperature == pytest.approx(0.5, rel=0.1)
    assert found.bend == pytest.approx(0, abs=0.03)


def test_what_the_models_cannot_tell_is_not_flagged() -> None:
    """Class 2 is taken for class 1 throughout: its labels are not wrong for that."""
    labels = np.repeat([0, 1, 2], 200)
    rng = np.random.default_rng(0)
    logits = 8 * np.eye(3)[np.array([0, 1, 1])[labels]] + rng.normal(size=(600, 3))
    judged = confident.judge(logits, labels, known=np.ones(3, bool))
    assert judged.told.tolist() == [True, True, False]
    assert not judged.flagged[labels == 2].any()


def test_a_class_that_some_model_has_not_seen_is_not_judged() -> None:
    labels = np.repeat([0, 1], 100)
    labels[0] = 1
    logits = 8 * np.eye(2)[np.repeat([0, 1], 100)]
    flagged = confident.judge(logits, labels, known=np.array([True, True])).flagged
    assert np.flatnonzero(flagged).tolist() == [0]
    assert not confident.judge(logits, labels, known=np.array([True, False])).flagged.any()


@pytest.mark.parametrize("count", [100, 1000])
def test_models_that_guess_accuse_hardly_anybody(count: int) -> None:
    rng = np.random.default_rng(count)
    accused = []
    for _ in range(20):
        logits = rng.normal(size=(count, 10)) * 5
        labels = rng.integers(0, 10, count)
        judged = confident.judge(logits, labels, known=np.ones(10, bool))
        accused.append(judged.flagged.mean())
    assert np.mean(accused) <= 0.01
