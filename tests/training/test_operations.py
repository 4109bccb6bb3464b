from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from imagetrail.training import geometry, operations
from imagetrail.training.operations import OPERATIONS, RANDAUGMENT, TONES, TRIVIAL, Drawn

SHAPES = [(16, 16, 3), (12, 21, 3), (16, 16, 1)]


def pictures(count: int, shape: tuple[int, int, int] = (16, 16, 3)) -> Tensor:
    """Smooth ones, none of which has all levels."""
    rng = np.random.default_rng(count)
    height, width, channels = shape
    coarse = rng.integers(30, 220, (count, 4, 4, channels)).astype(np.uint8)
    resized = [
        cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in coarse
    ]
    return torch.from_numpy(np.stack(resized).reshape(count, *shape))


def changed(
    images: Tensor, kind: str, strength: float, ranges: operations.Ranges = TRIVIAL
) -> Tensor:
    """All of the images by one operation of one strength."""
    count, height, width, _ = images.shape
    drawn = Drawn(torch.full((count,), OPERATIONS.index(kind)), torch.full((count,), strength))
    tones = operations.toned(images, drawn, ranges)
    return geometry.read(tones, operations.placed(drawn, ranges, (height, width)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "kind", [kind for kind in OPERATIONS if kind not in ("autocontrast", "equalise")]
)
def test_an_operation_of_no_strength_changes_nothing(
    kind: str, shape: tuple[int, int, int]
) -> None:
    images = pictures(5, shape)
    assert (changed(images, kind, 0.0) - images.float()).abs().max() < 0.01


@pytest.mark.parametrize("strength", [-1.0, -0.4, 0.4, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", [kind for kind in OPERATIONS if kind != "nothing"])
def test_an_operation_changes_a_picture_and_keeps_its_range_and_type(
    kind: str, shape: tuple[int, int, int], strength: float
) -> None:
    images = pictures(5, shape)
    before = images.clone()
    out = changed(images, kind, strength)
    assert out.shape == images.shape and out.min() >= 0 and out.max() <= 255
    assert torch.equal(images, before), "those it was given stay"
    if not (kind == "colour" and shape[2] == 1):  # grey has no colour to lose
        assert ((out - images.float()).abs().flatten(1).max(1).values > 1).all()


@pytest.mark.parametrize("kind", OPERATIONS)
def test_a_picture_without_colour_gets_none(kind: str) -> None:
    grey = pictures(5, (16, 16, 1)).repeat(1, 1, 1, 3)
    for strength in (-0.7, 0.7):
        out = changed(grey, kind, strength)
        assert (out - out[..., :1]).abs().max() <= 1, "but for rounding"


# ---- as others do it ----


def factor(strength: float) -> float:
    return 1 + strength * TRIVIAL.factor


PIL: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(factor(s)),
    "colour": lambda image, s: ImageEnhance.Color(image).enhance(factor(s)),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(factor(s)),
    "sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(factor(s)),
    "posterise": lambda image, s: ImageOps.posterize(image, 8 - round(abs(s) * (8 - TRIVIAL.bits))),
    "solarise": lambda image, s: ImageOps.solarize(image, int(256 * (1 - abs(s)))),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
}


@pytest.mark.parametrize("strength", [-0.75, -0.25, 0.5, 1.0])
@pytest.mark.parametrize("kind", PIL)
def test_a_tone_is_that_of_pillow_to_two_levels(kind: str, strength: float) -> None:
    images = pictures(6)
    theirs = [np.asarray(PIL[kind](Image.fromarray(image.numpy()), strength)) for image in images]
    apart = (changed(images, kind, strength) - torch.from_numpy(np.stack(theirs)).float()).abs()
    apart = apart[:, 1:-1, 1:-1] if kind == "sharpness" else apart  # Pillow leaves the border out
    assert apart.max() <= 2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equalising_is_that_of_opencv(shape: tuple[int, int, int]) -> None:
    images = pictures(6, shape)
    images[0] = 77  # one level only
    theirs = [
        np.stack(
            [cv2.equalizeHist(np.ascontiguousarray(image[..., c])) for c in range(shape[2])], 2
        )
        for image in images.numpy()
    ]
    apart = changed(images, "equalise", 1.0).round() - torch.from_numpy(np.stack(theirs)).float()
    assert apart.abs().max() <= 1


def test_a_picture_of_one_level_has_no_contrast_to_stretch() -> None:
    images = torch.full((2, 8, 8, 3), 77, dtype=torch.uint8)
    assert torch.equal(changed(images, "autocontrast", 1.0).round().to(torch.uint8), images)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("move_x", (8, 8 - 0.45 * 16)),
        ("move_y", (8 - 0.45 * 16, 8)),
        ("turn", None),
        ("shear_x", None),
    ],
)
def test_places_go_as_far_as_the_ranges_say(kind: str, place: tuple[float, float] | None) -> None:
    drawn = Drawn(torch.tensor([OPERATIONS.index(kind)]), torch.tensor([1.0]))
    matrix = operations.placed(drawn, TRIVIAL, (16, 16))[0]
    if place:
        assert matrix[:2, 2].tolist() == pytest.approx([8 - place[1], 8 - place[0]])
    elif kind == "turn":
        assert torch.acos(matrix[0, 0]).rad2deg().item() == pytest.approx(30, abs=1e-3)
    else:
        assert matrix[0, 1].item() == pytest.approx(0.99)
    assert torch.linalg.det(matrix).item() == pytest.approx(1.0), "none is a mirror image"


# ---- draws ----


def test_every_operation_is_drawn_alike_often_in_both_directions() -> None:
    drawn = operations.draw(7000, torch.Generator().manual_seed(0))
    often = drawn.kinds.bincount(minlength=len(OPERATIONS))
    assert len(OPERATIONS) == 14 == len(TONES) + 6
    assert often.min() > 400 and often.max() < 600
    assert -1 <= drawn.strengths.min() < -0.99 and 0.99 < drawn.strengths.max() <= 1


def test_of_a_share_the_others_are_left_alone() -> None:
    drawn = operations.draw(4000, torch.Generator().manual_seed(0), share=0.3)
    assert 0.24 < (drawn.kinds > 0).float().mean() < 0.32


def test_no_operation_mirrors_a_picture_or_turns_it_over() -> None:
    for ranges in (TRIVIAL, RANDAUGMENT):
        drawn = operations.draw(500, torch.Generator().manual_seed(0))
        linear = operations.placed(drawn, ranges, (16, 24))[:, :2, :2]
        assert (torch.linalg.det(linear) > 0.01).all() and (linear.diagonal(0, 1, 2) > 0.8).all()
