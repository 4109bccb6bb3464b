import numpy as np
import pytest
import torch
from torch import Tensor

from imagetrail.jitter import move


def moved(image: Tensor, down: int, right: int, reach: int) -> Tensor:
    """`image` moved with its border repeated, by padding and cutting: not the way move does it."""
    padded = np.pad(image.numpy(), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width, _ = image.shape
    return torch.from_numpy(padded[reach + down :][:height, reach + right :][:, :width])


@pytest.mark.parametrize(("flip", "shift"), [(True, 0), (False, 2), (True, 2)])
def test_moving_gives_each_image_a_flip_and_a_move_of_its_own_and_nothing_else(flip: bool, shift: int) -> None:
    image = torch.arange(6 * 5 * 3, dtype=torch.uint8).reshape(6, 5, 3)
    reach = range(-shift, shift + 1)
    allowed = [
        moved(one, y, x, shift) for one in ([image, image.flip(1)] if flip else [image]) for y in reach for x in reach
    ]
    out = move(image.repeat(600, 1, 1, 1), torch.Generator().manual_seed(3), flip=flip, shift=shift)
    hits = torch.stack([(out == one).flatten(1).all(1) for one in allowed], 1)
    assert out.dtype == torch.uint8 and (hits.sum(1) == 1).all()
    assert hits.any(0).all(), "every flip and move is drawn"
    if flip:
        assert 240 < hits[:, : len(reach) ** 2].sum() < 360, "half of the images are mirrored"
