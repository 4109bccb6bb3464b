"""How often a loss passes for none, counted over all that can happen."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from imagetrail.metrics.noninferiority import (
    EXACT,
    images_for_margin,
    noninferiority,
    smallest_margin,
    tango,
)


def p_of(only_ours: int, only_theirs: int, images: int, margin: float) -> float:
    numbers = np.arange(images)
    ours: NDArray[np.bool_] = numbers < only_ours
    theirs = (only_ours <= numbers) & (numbers < only_ours + only_theirs)
    return noninferiority(ours, theirs, margin)


@pytest.mark.parametrize("alpha", [0.05, 0.0025])
@pytest.mark.parametrize(("images", "margin"), [(5, 0.5), (20, 0.15), (20, 0.3), (28, 0.12)])
def test_of_few_images_the_test_never_errs_more_often_than_alpha(
    images: int, margin: float, alpha: float
) -> None:
    """Exact, for shares of disagreement that the test itself has not tried."""
    outcomes = [(wins, losses) for wins in range(images + 1) for losses in range(images + 1 - wins)]
    passes = [pair for pair in outcomes if p_of(*pair, images, margin) < alpha]
    assert passes, "else it has no power"
    wins, losses = np.array(passes).T
    for share in np.linspace(0.0013, (1 - margin) / 2 - 0.0013, 37):
        chances = [share, share + margin, 1 - 2 * share - margin]
        counts = np.column_stack([wins, losses, images - wins - losses])
        assert stats.multinomial.pmf(counts, images, chances).sum() <= 1.005 * alpha


def test_the_normal_approximation_would_err_more_often_on_20_images() -> None:
    """None lost of 20 with a margin of 12 %: the chance of that is 7.8 %, if 12 % are lost."""
    assert stats.norm.sf(tango(0, 0, 20, -0.12)) < 0.05
    assert p_of(0, 0, 20, 0.12) == pytest.approx(0.88**20) and round(0.88**20, 3) == 0.078


@pytest.mark.parametrize(
    ("images", "share", "margin"),
    [(1000, 0.03, 0.03), (1000, 0.005, 0.03), (200, 0.05, 0.1)],
)
def test_a_class_that_does_lose_the_margin_passes_as_rarely_as_alpha_says(
    images: int, share: float, margin: float
) -> None:
    drawn = np.random.default_rng(0).multinomial(
        images, [share, share + margin, 1 - 2 * share - margin], 10_000
    )
    statistics = np.array(
        [tango(int(ours), int(theirs), images, -margin) for ours, theirs, _ in drawn]
    )
    assert (stats.norm.sf(statistics) < 0.05).mean() < 0.06


def test_what_was_won_tells_for_ours_and_what_was_lost_against_it() -> None:
    for images, margin in ((50, 0.1), (500, 0.01)):
        p = [p_of(won, lost, images, margin) for won, lost in ((10, 0), (0, 0), (0, 10))]
        assert p == sorted(p) and p[0] < 0.01 and p[2] > 0.5
    assert noninferiority(np.empty(0, bool), np.empty(0, bool), 0.5) == 1


def test_images_that_are_worth_fewer_show_less() -> None:
    same = np.ones(60, bool)
    p = [noninferiority(same, same, 0.1, worth) for worth in (60, 20.5, 3.2, 0.5)]
    assert p == sorted(p) and p[0] < 0.05 < p[1] and p[3] == 1


@pytest.mark.parametrize("images", [20, EXACT, 215])
def test_the_smallest_margin_is_the_one_that_agreement_just_shows(images: int) -> None:
    margin = smallest_margin(images, 0.05)
    assert p_of(0, 0, images, margin) < 0.05 <= p_of(0, 0, images, margin - 0.001)
    assert smallest_margin(0, 0.05) == 1


@pytest.mark.parametrize(("share", "margin"), [(0.02, 0.03), (0.05, 0.1), (0.0, 0.05)])
def test_so_many_images_show_the_margin_four_times_in_five(share: float, margin: float) -> None:
    images = round(images_for_margin(40 * share, 40 * share, 40, margin, 0.01))
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(images, [share, share, 1 - 2 * share], 300)
    shown = np.mean(
        [p_of(int(ours), int(theirs), images, margin) < 0.01 for ours, theirs, _ in drawn]
    )
    assert 0.72 < shown < (0.9 if share else 1.1)


def test_no_number_of_images_shows_what_is_not_so() -> None:
    assert images_for_margin(1, 5, 100, 0.03, 0.05) == np.inf
