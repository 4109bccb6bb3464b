"""Paired tests against statsmodels, and against how often they err where the truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from imagetrail.metrics import scores, significance


def pair(
    only_ours: int, only_theirs: int, images: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    numbers = np.arange(images)
    return numbers < only_ours, (only_ours <= numbers) & (numbers < only_ours + only_theirs)


def test_mcnemar_is_one_side_of_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        ours, theirs = rng.random((2, 200)) < rng.uniform(0.5, 1, (2, 1))
        only_ours, only_theirs, better = significance.mcnemar(ours, theirs)
        worse = significance.mcnemar(theirs, ours)[2]
        assert (only_ours, only_theirs) == ((ours & ~theirs).sum(), (theirs & ~ours).sum())
        table = [[0, only_ours], [only_theirs, 0]]
        expected = statsmodels_mcnemar(table, exact=True).pvalue
        assert min(1, 2 * min(better, worse)) == pytest.approx(expected)
        assert (better < worse) == (only_ours > only_theirs)


def test_mcnemar_finds_nothing_where_two_models_agree() -> None:
    assert significance.mcnemar(*pair(0, 0, 100)) == (0, 0, 1.0)


def test_sign_flips_of_single_images_are_mcnemars_and_of_units_are_all_that_there_are() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        ours, theirs = rng.random((2, 200)) < rng.uniform(0.5, 1, (2, 1))
        expected = significance.mcnemar(ours, theirs)[2]
        assert significance.sign_flips(ours, theirs, np.arange(200))[1] == pytest.approx(expected)
        units = rng.integers(0, 8, 200)
        ahead = np.bincount(units, ours.astype(float) - theirs, minlength=8)
        signs = 1 - 2 * (np.arange(256)[:, None] >> np.arange(8) & 1)
        share = (signs @ ahead >= ahead.sum()).mean()
        assert significance.sign_flips(ours, theirs, units)[1] == pytest.approx(share)
    assert significance.sign_flips(ours, ours, units) == (0, 1.0)


def test_macro_sign_flips_are_all_that_there_are_where_classes_are_equally_large() -> None:
    rng, labels = np.random.default_rng(0), np.arange(48) % 3
    for _ in range(10):
        ours, theirs = rng.random((2, 48)) < rng.uniform(0.5, 1, (2, 1))
        units = np.arange(48) // 6  # two images of each class
        expected = significance.sign_flips(ours, theirs, units)
        found = significance.macro_sign_flips(ours, theirs, labels, units)
        assert found == (expected[0], pytest.approx(expected[1]))


def test_macro_sign_flips_are_all_signs_of_what_differs_and_of_two_images_a_rare_class() -> None:
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], [12, 4])
    for _ in range(10):
        ours, theirs = rng.random((2, 16)) < 0.6
        ahead = scores.evenly(labels) * (ours.astype(float) - theirs)
        sizes = np.r_[ahead, [1 / 8 - 1 / 24] * 2]
        signs = 1 - 2 * (np.arange(2**18)[:, None] >> np.arange(18) & 1)
        expected = (signs @ sizes >= ahead.sum() - 1e-9).mean()
        _, p = significance.macro_sign_flips(ours, theirs, labels, np.arange(16))
        assert p == pytest.approx(expected)


def test_the_interval_of_a_difference_in_macro_recall_holds_the_truth() -> None:
    rng, covered = np.random.default_rng(0), 0
    labels = np.repeat(np.arange(4), [600, 150, 40, 10])
    for _ in range(200):
        drawn = rng.random(800)
        ours, theirs = drawn >= 0.05, (drawn < 0.05) | (drawn >= 0.12)
        found, low, high = significance.paired_macro_interval(ours, theirs, labels, np.arange(800))
        assert found == pytest.approx(scores.evenly(labels) @ (ours.astype(int) - theirs))
        covered += low <= 0.02 <= high
    assert covered >= 0.92 * 200


@pytest.mark.parametrize("count", [1, 2, 10, 100])
def test_holms_correction_is_that_of_statsmodels(count: int) -> None:
    p_values = np.random.default_rng(count).beta(0.3, 1, count).tolist()
    assert significance.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_mcnemar_never_errs_more_often_than_alpha() -> None:
    """Exact, for every number of images on which two equal models disagree."""
    for count in range(1, 80):
        wrongly = [
            significance.mcnemar(*pair(ours, count - ours, 100))[2] < 0.05
            for ours in range(count + 1)
        ]
        assert stats.binom.pmf(range(count + 1), count, 0.5) @ np.array(wrongly) <= 0.05


def test_a_paired_interval_covers_the_truth_and_is_no_point_where_two_agree() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        only_ours, only_theirs, _ = rng.multinomial(500, [0.04, 0.02, 0.94])
        difference, low, high = significance.paired_interval(*pair(only_ours, only_theirs, 500))
        assert low <= difference <= high
        covered += low <= 0.02 <= high
    assert 0.92 < covered / 400 < 0.98
    difference, low, high = significance.paired_interval(*pair(0, 0, 100))
    assert (
        difference == 0
        and low == pytest.approx(-0.037, abs=0.001)
        and high == pytest.approx(0.037, abs=0.001)
    )


def test_the_sign_of_a_paired_difference_is_ours_less_theirs() -> None:
    assert (
        significance.paired_interval(*pair(3, 0, 3))[0] == 1
        and significance.paired_interval(*pair(0, 3, 3))[0] == -1
    )
