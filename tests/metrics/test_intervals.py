"""Intervals against statsmodels and scikit-learn, and against how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from imagetrail.base.rng import generator
from imagetrail.metrics import intervals, scores
from imagetrail.metrics.scores import Floats, Labels


def random_answers(count: int = 500, classes: int = 4, seed: int = 3) -> tuple[Floats, Labels]:
    rng = np.random.default_rng(seed)
    probabilities = scores.softmax(3 * rng.normal(size=(count, classes)))
    guessed = rng.integers(0, classes, count)
    return probabilities, np.where(rng.random(count) < 0.6, probabilities.argmax(1), guessed)


# ---- the bootstrap ----


def test_the_bootstrap_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros(300, np.int64)
    covered = 0
    for draw in range(200):
        right = rng.random(300) < 0.8
        probabilities = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
        judged = {"top1": (scores.top1, probabilities)}
        low, high = intervals.bootstrap(judged, labels, generator(draw), draws=200)["top1"]
        covered += low <= 0.8 <= high
    assert 180 <= covered <= 198


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
        alone = intervals.bootstrap({name: pair}, labels, generator(0), draws=100)
        assert together[name] == pytest.approx(alone[name])


def test_images_that_belong_together_are_drawn_together() -> None:
    """Four copies of each image say no more than one: the interval stays as wide."""
    probabilities, labels = random_answers()
    copies, units = np.repeat(np.arange(500), 4), np.repeat(np.arange(500), 4)
    judged = {"top1": (scores.top1, probabilities[copies])}
    alone = intervals.bootstrap(
        {"top1": (scores.top1, probabilities)}, labels, generator(0), draws=500
    )["top1"]
    whole = intervals.bootstrap(judged, labels[copies], generator(0), draws=500, units=units)
    assert whole["top1"] == pytest.approx(alone)
    apart = intervals.bootstrap(judged, labels[copies], generator(0), draws=500)["top1"]
    assert apart[1] - apart[0] < 0.6 * (alone[1] - alone[0])


@pytest.mark.parametrize("patients", [3, 5, 10, 50])
@pytest.mark.parametrize("alike", [0.05, 0.3])
def test_the_interval_of_accuracy_holds_the_truth_for_few_patients_too(
    patients: int, alike: float
) -> None:
    """20 images of each; alike: the intraclass correlation of a patient's images."""
    rng, units = np.random.default_rng(0), np.repeat(np.arange(patients), 20)
    a, b = (share * (1 / alike - 1) for share in (0.8, 0.2))
    covered = 0
    for _ in range(400):
        right = rng.random(len(units)) < rng.beta(a, b, patients)[units]
        low, high = intervals.accuracy(right, units)
        covered += low <= 0.8 <= high
    assert covered >= 0.88 * 400


def test_the_interval_of_accuracy_is_wilsons_where_each_image_is_by_itself() -> None:
    right = np.arange(40) < 33
    ends = intervals.wilson(np.array(33), np.array(40))
    assert intervals.accuracy(right, np.arange(40)) == pytest.approx([float(end) for end in ends])


def test_without_a_fault_patients_count_as_images_of_which_each_has_one() -> None:
    ends = intervals.wilson(np.array(4), np.array(4))
    found = intervals.accuracy(np.ones(400, bool), np.arange(400) // 100)
    assert found == pytest.approx([float(end) for end in ends])
    low, high = intervals.accuracy(np.arange(100) < 86, np.zeros(100, np.int64))
    assert high - low > 0.6, "one patient tells little"


@pytest.mark.parametrize("of_each", [1, 5])
def test_the_interval_of_macro_recall_holds_the_truth_though_a_class_is_rare(of_each: int) -> None:
    """of_each: images of a patient, of any class, judged much alike."""
    rng, recall = np.random.default_rng(0), np.array([0.95, 0.8, 0.7, 0.9])
    labels = rng.permutation(np.repeat(np.arange(4), [600, 150, 40, 10]))
    units, covered = np.arange(800) // of_each, 0
    for _ in range(300):
        shared = rng.random(len(units) // of_each)[units]
        own = rng.random(len(units))
        chance = np.where(rng.random(len(units)) < (0.3 if of_each > 1 else 0), shared, own)
        low, high = intervals.macro_recall(chance < recall[labels], labels, units)
        covered += low <= recall.mean() <= high
    assert covered >= 0.92 * 300


def test_of_one_class_macro_recall_is_accuracy() -> None:
    right, alone = np.arange(40) < 33, np.arange(40)
    found = intervals.macro_recall(right, np.zeros(40, np.int64), alone)
    assert found == pytest.approx(intervals.accuracy(right, alone))


def test_the_mean_over_units_is_students_and_of_one_unit_nothing_is_known() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(0.5, 0.1, 8)
    found = intervals.mean_over_units(np.repeat(means, 5), np.repeat(np.arange(8), 5), (0, 1))
    assert found == pytest.approx(intervals.mean_interval(means))
    assert intervals.mean_over_units(means, np.zeros(8, np.int64), (0, 1)) == (0, 1)


def test_images_of_units_are_worth_the_units_if_these_are_equally_large() -> None:
    assert intervals.independent(np.arange(7)) == 7
    assert intervals.independent(np.arange(100) // 20) == 5
    assert intervals.independent(np.array([0] * 98 + [1, 2])) < 1.1


def test_means_of_resamples_spread_by_the_standard_error() -> None:
    parts = np.random.default_rng(0).random((10_000, 1))
    means = intervals.resampled(parts, generator(0), draws=1000)
    assert means.std() == pytest.approx(parts.std() / 100, rel=0.1)
    assert means.mean() == pytest.approx(parts.mean(), abs=1e-3)


# ---- a share, a mean, an area ----


def test_wilsons_interval_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    count = rng.integers(1, 3000, 200)
    right = rng.integers(0, count + 1)
    right[:2] = 0, count[1]
    expected = proportion_confint(right, count, alpha=0.05, method="wilson")
    assert np.allclose(intervals.wilson(right, count), expected, atol=1e-7)


def test_of_no_image_nothing_is_known() -> None:
    low, high = intervals.wilson(np.array([0]), np.array([0]))
    assert low < 0.01 and high > 0.7


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_the_interval_of_a_mean_is_that_of_statsmodels(count: int) -> None:
    values = np.random.default_rng(count).normal(0.9, 0.02, count)
    expected = DescrStatsW(values).tconfint_mean(alpha=0.05)
    assert intervals.mean_interval(values) == pytest.approx(expected)


def test_a_mean_of_equal_runs_is_as_sure_as_rounding_allows() -> None:
    low, high = intervals.mean_interval(np.full(4, 0.9), least=0.01**2 / 12)
    half = stats.t.isf(0.025, 3) * 0.01 / np.sqrt(12 * 4)
    assert (low, high) == pytest.approx((0.9 - half, 0.9 + half))


def test_a_mean_of_units_that_are_all_alike_is_no_point() -> None:
    """Where none of 40 errs it is Wilson's."""
    found = intervals.mean_over_units(np.zeros(40), np.arange(40), (0, 1))
    ends = intervals.wilson(np.array(0), np.array(40))
    assert found == pytest.approx([float(end) for end in ends])
    low, high = intervals.mean_over_units(np.zeros(40), np.arange(40), (-1, 1))
    assert -low == high == pytest.approx(found[1])


def test_two_sets_that_are_wholly_apart_have_an_auroc_of_1_and_no_certainty() -> None:
    value, low, high = intervals.auroc(np.array([0.8, 0.9, 0.9]), np.array([0.1, 0.2]))
    assert (value, high) == (1, 1) and 0.2 < low < 0.5, "of two pictures"


@pytest.mark.parametrize("digits", [1, 8], ids=["ties", "none"])
def test_auroc_is_that_of_scikit_learn(digits: int) -> None:
    rng = np.random.default_rng(digits)
    known = rng.beta(5, 2, 300).round(digits)
    unknown = rng.beta(3, 2, 170).round(digits)
    values = np.concatenate([known, unknown])
    expected = roc_auc_score(np.arange(len(values)) < len(known), values)
    value, low, high = intervals.auroc(known, unknown)
    assert value == pytest.approx(expected) and low < value < high


def test_the_interval_of_auroc_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    truth = 0.7602  # of normal scores whose means are one standard deviation apart: Φ(1/√2)
    found = [intervals.auroc(rng.normal(1, 1, 80), rng.normal(0, 1, 60)) for _ in range(300)]
    assert 275 <= sum(low <= truth <= high for _, low, high in found) <= 297
