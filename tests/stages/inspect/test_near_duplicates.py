"""Near duplicates: a copy is found however it was changed, another picture is none."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import tiles
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from tiles import jpeg

from imagetrail.base.samples import fingerprint
from imagetrail.stages.inspect import near_duplicates, neighbours

Images = NDArray[np.uint8]

PHOTOS = tiles.tiles()
COPIED = 30
CHANGES: dict[str, Callable[[Images], Images]] = {
    "JPEG of quality 90": lambda image: jpeg(image, 90),
    "JPEG of quality 50": lambda image: jpeg(image, 50),
    "cut by 3 to 10 % a side": lambda image: _as_large(image[2:45, 4:44]),
    "cut by 10 % a side": lambda image: _as_large(image[5:43, 5:43]),
    "two thirds of the size": lambda image: _as_large(
        cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)
    ),
    "brightened": lambda image: np.clip(image * 1.1 + 15.0, 0, 255).astype(np.uint8),
    "of less contrast": lambda image: (image * 0.6 + 40).astype(np.uint8),
}


def _as_large(image: Images) -> Images:
    return cv2.resize(image, (48, 48), interpolation=cv2.INTER_CUBIC)


def groups(images: Images) -> NDArray[np.int64]:
    small = np.stack(
        [cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA) for image in images]
    )
    small = small.reshape(len(images), 32, 32, -1)
    return near_duplicates.groups(small, [fingerprint(image) for image in images])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(change: str) -> None:
    copies = np.stack([CHANGES[change](image) for image in PHOTOS[:COPIED]])
    found = groups(np.concatenate([PHOTOS, copies]))
    assert (found[COPIED : len(PHOTOS)] == -1).all()
    right = (found[:COPIED] == found[len(PHOTOS) :]) & (found[:COPIED] >= 0)
    assert right.mean() >= 0.85
    assert len(set(found[:COPIED][right])) == right.sum()  # each copy with its own original


def test_different_photos_and_different_digits_are_no_copies() -> None:
    digits = (load_digits().images * 15.9375).astype(np.uint8)[..., None]
    found = near_duplicates.groups(digits, [fingerprint(image) for image in digits])
    assert (groups(PHOTOS) == -1).all()
    assert (found == -1).all()


def test_pictures_of_one_scene_with_different_objects_are_no_copies() -> None:
    """As parts on a belt: nearly all of each picture is the same in all."""
    rng, scene = np.random.default_rng(0), PHOTOS[20]
    images = np.stack([scene] * 40)
    for image in images:
        top, left = rng.integers(4, 32, 2)
        image[top : top + 10, left : left + 10] = rng.integers(0, 256, 3)
    assert (groups(images) == -1).all()


def test_exact_copies_alone_are_no_group_and_join_the_group_of_what_they_equal() -> None:
    images = np.concatenate([PHOTOS, PHOTOS[:2], jpeg(PHOTOS[0])[None]])
    found = groups(images)
    assert found[0] == found[len(PHOTOS)] == found[-1] == 0
    assert found[1] == found[len(PHOTOS) + 1] == -1


def test_many_copies_of_one_picture_are_one_group() -> None:
    copies = [jpeg(PHOTOS[3], quality) for quality in range(60, 96)]
    found = groups(np.concatenate([PHOTOS, np.stack(copies)]))
    assert (found[len(PHOTOS) :] == 0).mean() >= 0.9 and found[3] == 0


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_pictures_are_taken(count: int) -> None:
    images = PHOTOS[20 : 20 + count]
    found = near_duplicates.groups(images, [fingerprint(image) for image in images])
    assert found.tolist() == [-1] * count


def test_descriptors_are_whole_numbers_whose_products_float32_holds_exactly() -> None:
    digits = (load_digits().images[:300] * 15.9375).astype(np.uint8)[..., None]
    found = near_duplicates._descriptors(digits, np.arange(300), cut=near_duplicates.CUT)
    exact = found.astype(np.int64) @ found.astype(np.int64).T
    assert (found == np.rint(found)).all() and exact.max() < 2**24
    assert (found @ found.T == exact).all() and (found[:, ::-1] @ found[:, ::-1].T == exact).all()


def test_of_equal_neighbours_the_first_are_taken() -> None:
    offered = np.array([[1, 0], [2, 1], [2, 0], [2, 3], [0, 9]], np.float32)
    found = neighbours.nearest(offered, np.array([[1, 0]], np.float32), 2)
    assert set(found[0].tolist()) == {1, 2}
