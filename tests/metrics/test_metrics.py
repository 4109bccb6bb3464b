"""Metrics against values worked out by hand, and intervals and tests against what they must mean."""

import numpy as np
import pytest

from imagetrail.base.rng import generator
from imagetrail.metrics import intervals, scores, significance

PROBABILITIES = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.9, 0.1]])
LABELS = np.array([0, 1, 1, 0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top1", 0.75),
        ("macro_f1", (4 / 5 + 2 / 3) / 2),
        ("log_loss", -np.log([0.8, 0.4, 0.7, 0.9]).mean()),
        ("brier", 2 * np.mean([0.2**2, 0.6**2, 0.3**2, 0.1**2])),
        ("ece", (0.2 + 0.6 + 0.3 + 0.1) / 4),
    ],
)
def test_every_metric_has_the_value_worked_out_by_hand(name: str, value: float) -> None:
    assert scores.METRICS[name](PROBABILITIES, LABELS) == pytest.approx(value)


def test_no_metric_goes_without_a_hand_worked_value() -> None:
    assert set(scores.METRICS) == {"top1", "macro_f1", "log_loss", "brier", "ece"}


def test_the_bootstrap_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for draw in range(200):
        right = rng.random(300) < 0.8
        probabilities = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
        judged = {"top1": (scores.top1, probabilities)}
        low, high = intervals.bootstrap(
            judged, np.zeros(300, np.int64), generator(draw), draws=200
        )["top1"]
        covered += low <= 0.8 <= high
    assert 180 <= covered <= 198


def random_answers(
    count: int = 500, classes: int = 4, seed: int = 3
) -> tuple[scores.Floats, scores.Labels]:
    rng = np.random.default_rng(seed)
    probabilities = scores.softmax(3 * rng.normal(size=(count, classes)))
    return probabilities, np.where(
        rng.random(count) < 0.6, probabilities.argmax(1), rng.integers(0, classes, count)
    )


@pytest.mark.parametrize("name", scores.METRICS)
def test_the_bootstrap_judges_resampled_images_as_if_they_were_the_test_set(name: str) -> None:
    probabilities, labels = random_answers()
    metric = scores.METRICS[name]
    means = intervals.resampled(metric.parts(probabilities, labels), generator(0), draws=70)
    rng = generator(0)
    picks = np.vstack([rng.integers(0, 500, (64, 500)), rng.integers(0, 500, (6, 500))])
    values = [metric(probabilities[chosen], labels[chosen]) for chosen in picks]
    assert metric.value(means) == pytest.approx(np.array(values))


def test_metrics_judged_together_have_the_intervals_they_have_alone() -> None:
    probabilities, labels = random_answers()
    judged = {name: (metric, probabilities) for name, metric in scores.METRICS.items()}
    together = intervals.bootstrap(judged, labels, generator(0), draws=100)
    for name, pair in judged.items():
        assert together[name] == pytest.approx(
            intervals.bootstrap({name: pair}, labels, generator(0), draws=100)[name]
        )


def test_means_of_resamples_spread_by_the_standard_error() -> None:
    parts = np.random.default_rng(0).random((10_000, 1))
    means = intervals.resampled(parts, generator(0), draws=1000)
    assert means.std() == pytest.approx(
        parts.std() / 100, rel=0.1
    ) and means.mean() == pytest.approx(parts.mean(), abs=1e-3)


def test_top_k_counts_a_label_among_the_k_likeliest_and_ties_go_to_the_first_class() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])
    labels = np.array([1, 0, 1])
    assert [scores.top(k)(probabilities, labels) for k in (1, 2, 3)] == pytest.approx([0, 2 / 3, 1])
    assert scores.top(1)(probabilities, np.array([0, 2, 0])) == 1


def test_wilsons_interval_is_that_of_the_textbook_and_never_a_point() -> None:
    low, high = intervals.wilson(np.array([81, 5, 0]), np.array([263, 5, 0]))
    assert (low[0], high[0]) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert low[1] == pytest.approx(0.5655, abs=1e-4) and high[1] == pytest.approx(1)
    assert low[2] < 0.01 and high[2] > 0.7  # of no image, nothing is known


def test_coverage_answers_the_most_confident_first_and_ties_in_no_order() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.7, 0.3]])
    labels = np.array([0, 0, 1, 0])
    confidence, accuracy = scores.coverage(probabilities, labels)
    assert confidence == pytest.approx([0.9, 0.7, 0.7, 0.6])
    assert accuracy == pytest.approx([1, 1.5 / 2, 2 / 3, 2 / 4])
    assert scores.coverage(probabilities[::-1], labels[::-1])[1] == pytest.approx(accuracy)


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    value, low, high = intervals.auroc(np.array([0.9, 0.8, 0.5]), np.array([0.5, 0.1]))
    assert value == pytest.approx(5.5 / 6) and low < value < high <= 1
    assert intervals.auroc(np.ones(5), np.ones(4))[0] == 0.5


def test_the_interval_of_auroc_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    truth = 0.7602  # of normal scores whose means are one standard deviation apart: Φ(1/√2)
    found = [intervals.auroc(rng.normal(1, 1, 80), rng.normal(0, 1, 60)) for _ in range(300)]
    assert 275 <= sum(low <= truth <= high for _, low, high in found) <= 297


def test_mcnemar_counts_only_images_on_which_the_two_differ() -> None:
    ours = np.array([True] * 10 + [False] * 1 + [True] * 50)
    theirs = np.array([False] * 10 + [True] * 1 + [True] * 50)
    assert significance.mcnemar(ours, theirs) == (10, 1, pytest.approx(12 / 2**11))
    assert significance.mcnemar(ours, ours) == (0, 0, 1.0)


def test_holm_multiplies_the_smallest_p_by_the_number_of_comparisons() -> None:
    assert significance.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_the_interval_of_a_mean_is_around_it() -> None:
    same = np.array([0.5, 0.6, 0.7])
    assert intervals.mean_interval(same)[0] < 0.6 < intervals.mean_interval(same)[1]
