"""Metrics against values worked out by hand, and intervals and tests against what they must mean."""

import numpy as np
import pytest

from imagetrail import metrics
from imagetrail.rng import generator

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
    assert metrics.METRICS[name](PROBABILITIES, LABELS) == pytest.approx(value)


def test_no_metric_goes_without_a_hand_worked_value() -> None:
    assert set(metrics.METRICS) == {"top1", "macro_f1", "log_loss", "brier", "ece"}


def test_the_bootstrap_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for draw in range(200):
        right = rng.random(300) < 0.8
        probabilities = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
        low, high = metrics.bootstrap(metrics.top1, probabilities, np.zeros(300, np.int64), generator(draw), draws=200)
        covered += low <= 0.8 <= high
    assert 180 <= covered <= 198


def test_temperature_finds_back_the_factor_that_logits_were_scaled_by() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 5))
    labels = np.array([rng.choice(5, p=row) for row in metrics.softmax(logits)])
    assert metrics.temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)


def test_mcnemar_counts_only_images_on_which_the_two_differ() -> None:
    ours = np.array([True] * 10 + [False] * 1 + [True] * 50)
    theirs = np.array([False] * 10 + [True] * 1 + [True] * 50)
    assert metrics.mcnemar(ours, theirs) == (10, 1, pytest.approx(12 / 2**11))
    assert metrics.mcnemar(ours, ours) == (0, 0, 1.0)


def test_holm_multiplies_the_smallest_p_by_the_number_of_comparisons() -> None:
    assert metrics.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_equal_runs_are_a_tie_and_one_run_is_no_evidence() -> None:
    same = np.array([0.5, 0.6, 0.7])
    assert metrics.paired_p(same, same) == 1.0
    assert metrics.paired_p(same[:1], same[:1] - 0.1) == 1.0
    assert metrics.paired_p(same + np.array([0.1, 0.11, 0.09]), same) < 0.01
    assert metrics.mean_interval(same)[0] < 0.6 < metrics.mean_interval(same)[1]
