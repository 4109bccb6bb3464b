from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from imagetrail.training import geometry


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int = 8, width: int = 8) -> Tensor:
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=rng(count))


def displaced(image: Tensor, down: int, right: int, reach: int) -> Tensor:
    """`image` moved with its border repeated, by padding and cutting, as `moved` does not do it."""
    padded = np.pad(image.numpy(), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width, _ = image.shape
    return torch.from_numpy(padded[reach + down :][:height, reach + right :][:, :width])


@pytest.mark.parametrize(("flip", "shift"), [(True, 0), (False, 2), (True, 2)])
def test_moving_gives_each_image_its_flip_and_a_move_of_its_own_and_nothing_else(
    flip: bool, shift: int
) -> None:
    image = torch.arange(6 * 5 * 3, dtype=torch.uint8).reshape(6, 5, 3)
    reach = range(-shift, shift + 1)
    allowed = [
        displaced(one, y, x, shift)
        for one in ([image, image.flip(1)] if flip else [image])
        for y in reach
        for x in reach
    ]
    mirrored = torch.arange(600) % 2 == 0 if flip else None
    pixels = geometry.shifts(600, rng(3), most=shift) if shift else None
    out = geometry.moved(image.repeat(600, 1, 1, 1), mirrored, pixels)
    hits = torch.stack([(out == one).flatten(1).all(1) for one in allowed], 1)
    assert out.dtype == torch.uint8 and (hits.sum(1) == 1).all()
    assert hits.any(0).all(), "every move is drawn"
    if flip:
        assert torch.equal(hits[:, len(reach) ** 2 :].any(1), mirrored)


def test_moves_as_matrices_read_the_same_pixels() -> None:
    images = noise(50, 9, 14)
    change = torch.arange(50) % 3 == 0, geometry.shifts(50, rng(), most=3)
    read = geometry.read(images, geometry.moving(50, *change))
    assert (read - geometry.moved(images, *change).float()).abs().max() < 0.01


# ---- affine ----


def affine(images: Tensor, stream: torch.Generator, **limits: float) -> Tensor:
    return geometry.read(images, geometry.affine(len(images), stream, **limits))


def quarter_turn(drawn: float) -> dict[str, float]:
    return {"rotate": 90 / drawn, "zoom": 0.0}


def twice_as_large(drawn: float) -> dict[str, float]:
    return {"rotate": 0.0, "zoom": 1 / drawn}


def forced(image: Tensor, number: int, limits: Callable[[float], dict[str, float]]) -> Tensor:
    """`image` changed by exactly so much: the limits are what makes that of the number drawn."""
    drawn = 2 * torch.rand((3, 1), generator=rng(5)) - 1
    return affine(image[None], rng(5), **limits(drawn[number].item()))[0]


def disc(
    height: int, width: int, *, radius: float, down: float = 0.0, right: float = 0.0
) -> Tensor:
    """H×W×1: 200 inside of the disc and 0 outside, with a soft border two pixels wide."""
    y = torch.arange(height)[:, None] + 0.5 - height / 2 - down
    x = torch.arange(width)[None, :] + 0.5 - width / 2 - right
    return 200 * ((radius - (y**2 + x**2).sqrt()) / 2 + 0.5).clamp(0, 1)[..., None]


def centres(images: Tensor) -> tuple[Tensor, Tensor]:
    """How far down and right of the picture's middle each image's brightness has its centre."""
    weight = images[..., 0] / images.sum((1, 2, 3))[:, None, None]
    height, width = weight.shape[1:]
    down = (weight.sum(2) * (torch.arange(height) + 0.5 - height / 2)).sum(1)
    return down, (weight.sum(1) * (torch.arange(width) + 0.5 - width / 2)).sum(1)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 12)])
def test_no_turn_and_no_zoom_leave_the_images(height: int, width: int) -> None:
    images = noise(4, height, width)
    out = affine(images, rng(), rotate=0.0, zoom=0.0)
    assert out.dtype == torch.float32 and (out - images).abs().max() < 0.01


@pytest.mark.parametrize("side", [7, 8])
def test_a_turn_by_90_degrees_is_that_of_the_pixels(side: int) -> None:
    image = noise(1, side, side)[0]
    assert (forced(image, 0, quarter_turn) - image.rot90(1)).abs().max() < 0.01


def test_turns_by_quarters_are_drawn_alike_and_move_each_pixel_as_it_is() -> None:
    image = noise(1, 8, 8)
    quarters = torch.cat([image.rot90(count, (1, 2)) for count in range(4)]).float()
    change = geometry.turns(400, rng(), sides=(8, 8))
    read = geometry.read(image.repeat(400, 1, 1, 1), change)
    near = (read[:, None] - quarters[None]).abs().flatten(2).amax(2) < 0.01
    assert (near.sum(1) == 1).all() and (near.sum(0) > 60).all()
    image = noise(1, 6, 9)
    read = geometry.read(image.repeat(90, 1, 1, 1), geometry.turns(90, rng(), sides=(6, 9)))
    sides = torch.cat([image, image.rot90(2, (1, 2))]).float()
    near = (read[:, None] - sides[None]).abs().flatten(2).amax(2) < 0.01
    assert (near.sum(1) == 1).all() and (near.sum(0) > 25).all(), "upright or upside down"


def test_a_picture_that_is_not_square_turns_without_shear_and_repeats_its_border() -> None:
    image = noise(1, 6, 10)[0].float()
    turned = forced(image, 0, quarter_turn)
    assert (turned[:, 2:8] - image[:, 2:8].rot90(1)).abs().max() < 0.01, "the square in the middle"
    assert torch.allclose(turned[:, :2], turned[:, 2:3].expand(-1, 2, -1), atol=0.01)
    assert torch.allclose(turned[:, 8:], turned[:, 7:8].expand(-1, 2, -1), atol=0.01)


def test_a_zoom_to_double_size_makes_an_edge_twice_as_wide() -> None:
    image = torch.zeros(8, 8, 1)
    image[:, 4:] = 100.0
    row = forced(image, 1, twice_as_large)[0, :, 0]
    assert row.tolist() == pytest.approx([0, 0, 0, 25, 75, 100, 100, 100], abs=0.01)


@pytest.mark.parametrize(("height", "width"), [(24, 40), (40, 24)])
def test_a_disc_stays_a_disc_however_it_is_turned(height: int, width: int) -> None:
    image = disc(height, width, radius=8)
    out = affine(image.repeat(50, 1, 1, 1), rng(), rotate=180.0, zoom=0.0)
    assert (out - image).abs().max() < 30, (
        "a bilinear border is a little softer; a shear would change it by 200"
    )


def test_turns_reach_the_given_degrees_each_way_and_keep_the_distance() -> None:
    image = disc(24, 40, radius=3, right=6)
    down, right = centres(affine(image.repeat(400, 1, 1, 1), rng(), rotate=30.0, zoom=0.0))
    degrees = torch.atan2(down, right).rad2deg()
    assert -30.2 < degrees.min() < -28 and 28 < degrees.max() < 30.2 and degrees.mean().abs() < 3
    assert torch.allclose((down**2 + right**2).sqrt(), torch.tensor(6.0), atol=0.1)


def test_zooms_reach_the_given_share_each_way_alike_in_both_directions() -> None:
    image = disc(24, 40, radius=4, down=3, right=5)
    down, right = centres(affine(image.repeat(400, 1, 1, 1), rng(), rotate=0.0, zoom=0.25))
    assert torch.allclose(down / 3, right / 5, atol=0.02)
    assert 0.74 < (right / 5).min() < 0.77 and 1.23 < (right / 5).max() < 1.26


def test_each_image_is_turned_and_zoomed_by_draws_of_its_own() -> None:
    image = disc(24, 24, radius=3, right=5)
    down, right = centres(affine(image.repeat(400, 1, 1, 1), rng(), rotate=30.0, zoom=0.25))
    drawn = torch.stack([torch.atan2(down, right), (down**2 + right**2).sqrt()])
    assert drawn[0].std() > 0.2 and drawn[1].std() > 0.5
    assert torch.corrcoef(drawn)[0, 1].abs() < 0.15


@pytest.mark.parametrize(("height", "width"), [(24, 40), (40, 24)])
def test_a_shear_moves_rows_sideways_by_their_distance_from_the_middle(
    height: int, width: int
) -> None:
    image = disc(height, width, radius=3, down=6, right=1)
    down, right = centres(
        affine(image.repeat(400, 1, 1, 1), rng(), rotate=0.0, zoom=0.0, shear=30.0)
    )
    degrees = torch.atan2(right - 1, torch.tensor(6.0)).rad2deg()
    assert torch.allclose(down, torch.tensor(6.0), atol=0.1)
    assert -30.5 < degrees.min() < -28 and 28 < degrees.max() < 30.5 and degrees.mean().abs() < 3


# ---- elastic ----


def elastic(images: Tensor, stream: torch.Generator, *, pixels: float) -> Tensor:
    count, height, width = images.shape[:3]
    field = geometry.elastic(count, stream, pixels=pixels, sides=(height, width))
    return geometry.read(images, geometry.matrices(count), field)


def bent(pixels: float, count: int = 400) -> tuple[Tensor, Tensor]:
    """How far right and down each place of so many pictures of 29×57 is read from."""
    height, width = 29, 57
    down, right = torch.meshgrid(
        torch.arange(height) * 1.0, torch.arange(width) * 1.0, indexing="ij"
    )
    places = torch.stack([right, down], 2)
    out = elastic(places.repeat(count, 1, 1, 1), rng(), pixels=pixels) - places
    return out[..., 0], out[..., 1]


def test_elastic_moves_the_places_in_between_by_the_given_pixels_in_both_directions() -> None:
    right, down = (
        moves[:, 14, 28] for moves in bent(1.5)
    )  # the middle, where the draws themselves are
    assert abs(right.std() - 1.5) < 0.15 and abs(down.std() - 1.5) < 0.15
    assert (
        right.mean().abs() < 0.25 and torch.corrcoef(torch.stack([right, down]))[0, 1].abs() < 0.15
    )


def test_elastic_is_smooth_and_moves_far_places_independently() -> None:
    right = bent(1.0)[0][:, 5:-5, 5:-5]  # from no place beyond the border
    assert right.diff(dim=2).abs().mean() < 0.1 and right.std() > 0.6
    assert torch.corrcoef(torch.stack([right[:, 2, 9], right[:, 16, 37]]))[0, 1].abs() < 0.15


# ---- several changes at once ----


def test_several_changes_in_one_reading_are_those_one_after_another() -> None:
    image = disc(48, 64, radius=9, down=2, right=-4).repeat(40, 1, 1, 1)
    first, second = (
        geometry.affine(40, rng(seed), rotate=30.0, zoom=0.2, shear=10.0) for seed in (1, 2)
    )
    field = geometry.elastic(40, rng(3), pixels=1.0, sides=(48, 64))
    whole = geometry.matrices(40)
    apart = geometry.read(geometry.read(image, first), second)
    apart = geometry.read(apart, whole, field)
    at_once = geometry.read(image, first @ second, field)
    assert (apart - at_once).abs().mean() < 1 and (apart - image).abs().mean() > 5


# ---- crop ----


def places(height: int, width: int) -> Tensor:
    """1×H×W×2: of each pixel its place, x before y, in shares of the sides."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y], 2)[None] + 0.5) / torch.tensor([width, height])


def cropped(count: int, least: float, sides: tuple[int, int] = (40, 60)) -> Tensor:
    """n×2×2: left and top, then right and bottom of the part that each picture shows."""
    change = geometry.crop(count, rng(), least=least, sides=sides)
    seen = geometry.read(places(*sides).repeat(count, 1, 1, 1), change)
    step = (seen[:, -2, -2] - seen[:, 1, 1]) / (torch.tensor(sides[::-1]) - 3)
    return torch.stack([seen[:, 1, 1] - 1.5 * step, seen[:, -2, -2] + 1.5 * step], 1)


def test_a_crop_shows_at_least_the_given_share_from_anywhere_within_the_picture() -> None:
    corners = cropped(500, 0.3)
    sides = corners[:, 1] - corners[:, 0]
    area, shape = sides.prod(1), sides[:, 0] / sides[:, 1]
    assert corners.min() > -0.005 and corners.max() < 1.005
    assert 0.28 < area.min() < 0.33 and 0.95 < area.max() < 1.01 and 0.55 < area.mean() < 0.68
    assert 0.74 < shape.min() < 0.8 and 1.26 < shape.max() < 1.35
    free = corners[:, 0] / (1 - sides + 1e-9)
    spread = free[(sides < 0.9).all(1)]
    assert spread.min() < 0.05 and spread.max() > 0.95 and (spread.mean(0) - 0.5).abs().max() < 0.1


def test_a_crop_of_all_the_area_shows_nearly_all() -> None:
    assert (cropped(100, 1.0)[:, 1] - cropped(100, 1.0)[:, 0]).prod(1).min() > 0.85


@pytest.mark.parametrize(
    "draw",
    [
        lambda count: geometry.crop(count, rng(), least=0.3, sides=(8, 8)),
        lambda count: geometry.affine(count, rng(), rotate=20.0, zoom=0.1, shear=5.0),
        lambda count: geometry.elastic(count, rng(), pixels=1.0, sides=(8, 8)),
    ],
)
def test_each_image_has_a_draw_of_its_own(draw: Callable[[int], Tensor]) -> None:
    assert len(draw(50).unique(dim=0)) == 50
