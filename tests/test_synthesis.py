"""Conformance of every synthesiser, and the checks on what it makes."""

from collections.abc import Callable

import numpy as np
import pytest

from imagetrail import synthesis
from imagetrail.rng import generator
from imagetrail.samples import Samples


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", synthesis.SYNTHESISERS)
def test_a_synthesiser_draws_seeded_images_of_the_class_asked_for(
    make_samples: Callable[..., Samples], method: str, channels: int
) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    images = (rng.integers(0, 60, (200, 8, 8, channels)) + 180 * labels[:, None, None, None]).astype(np.uint8)
    train = make_samples("train", images, labels)
    model, again = (synthesis.SYNTHESISERS[method](train, epochs=20, seed=1) for _ in range(2))
    dark, bright = model.sample(0, 30, seed=5), model.sample(1, 30, seed=5)
    assert dark.shape == (30, 8, 8, channels) and dark.dtype == np.uint8
    assert dark.mean() + 60 < bright.mean()
    assert np.array_equal(dark, again.sample(0, 30, seed=5)) and not np.array_equal(dark, model.sample(0, 30, seed=6))


def test_a_copy_of_a_training_image_is_found_and_a_new_one_is_not() -> None:
    rng = np.random.default_rng(0)
    real, new = (rng.integers(0, 256, (300, 8, 8, 1)).astype(np.uint8) for _ in range(2))
    new[3] = real[7]
    found = synthesis.near_copies(new, real, generator(0))
    assert found.mask[3] and found.mask.sum() <= 10


def test_frechet_distance_is_nought_for_equal_sets_and_the_squared_shift_for_shifted_ones() -> None:
    features = np.random.default_rng(0).normal(size=(500, 4))
    assert synthesis.frechet(features, features) == pytest.approx(0, abs=1e-6)
    assert synthesis.frechet(features, features + 2) == pytest.approx(16, rel=1e-6)
