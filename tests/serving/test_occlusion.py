"""Where a model looks, without gradients."""

import numpy as np
import pytest
from numpy.typing import NDArray

from imagetrail.base.samples import Images
from imagetrail.serving import occlusion


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 1), np.uint8)


@pytest.mark.parametrize("side", [8, 28, 224])
def test_a_square_picture_takes_62_answers_whatever_its_size(side: int) -> None:
    asked = []

    def predict(images: Images) -> NDArray[np.float64]:
        asked.append(len(images))
        return np.ones((len(images), 1))

    assert not occlusion.sensitivity(predict, noise(side, side), 0).any()
    assert asked == [62] or (side == 8 and asked[0] <= 62)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (9, 31), (50, 20)])
def test_every_pixel_is_changed_twice(height: int, width: int) -> None:
    image, changes = noise(height, width), np.zeros((height, width))

    def predict(images: Images) -> NDArray[np.float64]:
        changes[:] = (images[:-1] != image).any(3).sum(0)
        return np.ones((len(images), 1))

    occlusion.sensitivity(predict, image, 0)
    same = (occlusion.blurred(image) == image)[..., 0]  # where blurring happens to change nothing
    assert (changes[~same] == 2).all() and same.mean() < 0.1


def test_the_place_that_an_answer_hangs_on_has_the_most() -> None:
    image = noise(28, 28)
    image[20:23, 5:8] = 255

    def predict(images: Images) -> NDArray[np.float64]:
        bright = images[:, 20:23, 5:8, 0].mean((1, 2)) / 255
        return np.stack([1 - bright, bright], 1)

    fall = occlusion.sensitivity(predict, image, 1)
    assert fall[21, 6] == fall.max() > 0.3 and fall[:14, 14:].max() == 0
