"""Every corruption: still pictures, worse with strength, the same with the same seed."""

import numpy as np
import pytest

from imagetrail.base.rng import generator
from imagetrail.base.samples import Images
from imagetrail.stages.evaluate.corruptions import CORRUPTIONS, STRENGTHS


def pictures(count: int = 24, *, height: int = 28, width: int = 28, channels: int = 1) -> Images:
    """Smooth blobs: like photos, and unlike noise, near-by pixels are alike."""
    centre = np.random.default_rng(0).uniform(0.3, 0.7, (2, count, 1, 1, channels))
    rows, columns = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[:, None]
    blobs: Images = (
        255 * np.exp(-12 * ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2))
    ).astype(np.uint8)
    return blobs


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (33, 33, 3), (20, 32, 3)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_keeps_shape_and_type_and_leaves_its_input_alone(
    name: str, shape: tuple[int, int, int]
) -> None:
    images = pictures(5, height=shape[0], width=shape[1], channels=shape[2])
    before = images.copy()
    images.flags.writeable = False  # as memory-mapped ones are
    for strength in STRENGTHS:
        changed = CORRUPTIONS[name](images, strength, generator(0))
        assert changed.shape == images.shape and changed.dtype == np.uint8
        assert (changed.reshape(5, -1) != images.reshape(5, -1)).any(1).all()
    assert (images == before).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_grows_with_its_strength(name: str) -> None:
    images = pictures()
    distance = [
        np.square(CORRUPTIONS[name](images, strength, generator(0)) - images.astype(float)).mean()
        for strength in STRENGTHS
    ]
    assert 0 < distance[0] < distance[1] < distance[2]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_corrupts_alike(name: str) -> None:
    once, again = (CORRUPTIONS[name](pictures(), 2, generator(0)) for _ in range(2))
    assert (once == again).all()


@pytest.mark.parametrize("name", ["noise", "shift", "rotation", "occlusion"])
def test_each_picture_has_a_draw_of_its_own(name: str) -> None:
    alike = pictures(1).repeat(24, 0)
    assert len({image.tobytes() for image in CORRUPTIONS[name](alike, 2, generator(0))}) > 1


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_stay_where_they_are(channels: int) -> None:
    """A red picture is still red after it: nothing mixes up the channels."""
    images = np.zeros((4, 16, 16, channels), np.uint8)
    images[..., 0] = 200
    for name in ("blur", "shift", "rotation", "contrast", "jpeg"):
        mean = CORRUPTIONS[name](images, 1, generator(0)).mean((0, 1, 2))
        assert mean.argmax() == 0 and mean[0] > 100, name


def test_a_picture_of_one_colour_is_moved_and_turned_without_a_seam() -> None:
    plain = np.full((6, 16, 16, 1), 90, np.uint8)
    for name in ("blur", "shift", "rotation", "contrast"):
        assert (CORRUPTIONS[name](plain, 3, generator(0)) == 90).all(), name


def test_white_stays_white_under_noise_and_does_not_turn_black() -> None:
    assert CORRUPTIONS["noise"](np.full((2, 8, 8, 1), 255, np.uint8), 1, generator(0)).min() > 128
