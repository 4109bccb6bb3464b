"""What images could show, against how often they do."""

import numpy as np
import pytest
from numpy.typing import NDArray

from imagetrail.metrics import significance
from imagetrail.metrics.power import minimal_effect, times_as_many


def test_the_minimal_effect_shrinks_with_more_images_and_exists_where_two_agree() -> None:
    effects = [minimal_effect(images // 20, images, 0.05) for images in (200, 2000, 20_000)]
    assert effects == sorted(effects, reverse=True) and 0 < minimal_effect(0, 1000, 0.05) < 0.01


def drawn(
    wins: float, losses: float, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    chance = rng.random(count)
    return chance >= losses, chance < 1 - wins


@pytest.mark.parametrize("macro", [False, True])
@pytest.mark.parametrize("alpha", [0.025, 0.001])
def test_so_many_times_the_images_show_four_times_in_five_what_was_seen(
    macro: bool, alpha: float
) -> None:
    """6 % are won and 4 % lost: 400 images do not show it."""
    labels = np.arange(400) % 4
    number = np.arange(400)
    ours, theirs = number >= 16, number < 376
    times = times_as_many(ours, theirs, labels, number, alpha, macro=macro)
    count, rng = 4 * round(100 * times), np.random.default_rng(0)
    labels, number = np.arange(count) % 4, np.arange(count)
    found = 0
    for _ in range(200):
        sides = drawn(0.06, 0.04, count, rng)
        flips = (
            significance.macro_sign_flips(*sides, labels, number)
            if macro
            else significance.sign_flips(*sides, number)
        )
        found += flips[1] < alpha
    assert times > 3 and 0.72 < found / 200 < 0.88


def test_no_number_of_images_shows_a_gain_that_was_not_seen() -> None:
    same = np.ones(10, bool)
    facts = same, np.zeros(10, np.int64), np.arange(10), 0.05
    assert times_as_many(same, *facts, macro=False) == np.inf


def test_as_many_won_as_lost_is_no_gain_though_their_shares_do_not_sum_to_zero() -> None:
    rounded, number, rng = 0, np.arange(421), np.random.default_rng(0)
    for _ in range(50):
        mixed = rng.permutation(number)
        ours, theirs = mixed >= 60, (mixed < 200) | (mixed >= 260)
        rounded += bool(((ours.astype(float) - theirs) / 421).sum() > 0)
        assert times_as_many(ours, theirs, number % 4, number, 0.05, macro=False) == np.inf
    assert rounded, "or it would be no test"
