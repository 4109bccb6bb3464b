"""Paired tests against statsmodels, and against how often they err where the truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from imagetrail.metrics import significance


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


@pytest.mark.parametrize(
    ("images", "share", "margin"),
    [(1000, 0.03, 0.03), (1000, 0.005, 0.03), (100, 0.05, 0.1), (36, 0.05, 0.15)],
)
def test_a_class_that_does_lose_the_margin_passes_as_rarely_as_alpha_says(
    images: int, share: float, margin: float
) -> None:
    drawn = np.random.default_rng(0).multinomial(
        images, [share, share + margin, 1 - 2 * share - margin], 10_000
    )
    statistics = np.array(
        [significance.tango(int(ours), int(theirs), images, -margin) for ours, theirs, _ in drawn]
    )
    assert (stats.norm.sf(statistics) < 0.05).mean() < 0.06


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
    assert (
        significance.noninferiority(*pair(50, 0, 500), 0.01)
        < 1e-6
        < 0.999
        < significance.noninferiority(*pair(0, 50, 500), 0.01)
    )


def test_the_minimal_effect_shrinks_with_more_images_and_exists_where_two_agree() -> None:
    effects = [
        significance.minimal_effect(images // 20, images, 0.05) for images in (200, 2000, 20_000)
    ]
    assert (
        effects == sorted(effects, reverse=True)
        and 0 < significance.minimal_effect(0, 1000, 0.05) < 0.01
    )
