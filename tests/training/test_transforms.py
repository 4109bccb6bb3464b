from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from imagetrail.training.transforms import Jitter, affine, cutmix, cutout, elastic, mixup, move

WARPS = {"rotate": 20.0, "zoom": 0.2, "shear": 10.0, "elastic": 0.5}
EVERYTHING = {"flip": True, "shift": 1, **WARPS, "cutout": 3, "mixup": 0.4, "cutmix": 1.0}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int = 8, width: int = 8) -> Tensor:
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=rng(count))


def plain(count: int) -> Tensor:
    """Images that are their own number all over."""
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].repeat(1, 8, 8, 1)


def moved(image: Tensor, down: int, right: int, reach: int) -> Tensor:
    """`image` moved with its border repeated, by padding and cutting: not the way move does it."""
    padded = np.pad(image.numpy(), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width, _ = image.shape
    return torch.from_numpy(padded[reach + down :][:height, reach + right :][:, :width])


@pytest.mark.parametrize(("flip", "shift"), [(True, 0), (False, 2), (True, 2)])
def test_moving_gives_each_image_a_flip_and_a_move_of_its_own_and_nothing_else(
    flip: bool, shift: int
) -> None:
    image = torch.arange(6 * 5 * 3, dtype=torch.uint8).reshape(6, 5, 3)
    reach = range(-shift, shift + 1)
    allowed = [
        moved(one, y, x, shift)
        for one in ([image, image.flip(1)] if flip else [image])
        for y in reach
        for x in reach
    ]
    out = move(image.repeat(600, 1, 1, 1), torch.Generator().manual_seed(3), flip=flip, shift=shift)
    hits = torch.stack([(out == one).flatten(1).all(1) for one in allowed], 1)
    assert out.dtype == torch.uint8 and (hits.sum(1) == 1).all()
    assert hits.any(0).all(), "every flip and move is drawn"
    if flip:
        assert 240 < hits[:, : len(reach) ** 2].sum() < 360, "half of the images are mirrored"


# ---- affine ----


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


# ---- cutout ----


def boxes(changed: Tensor) -> Tensor:
    """n×H×W changed pixels as the n sizes (height, width) of the box that they fill.

    Fails if they fill none.
    """
    rows, columns = changed.any(2), changed.any(1)
    assert torch.equal(changed, rows[:, :, None] & columns[:, None, :])
    for line in (rows, columns):
        assert (line.int().diff(dim=1) == 1).sum(1).le(1).all(), "in one piece"
    return torch.stack([rows.sum(1), columns.sum(1)], 1)


@pytest.mark.parametrize("side", [1, 3, 4])
def test_cutout_paints_one_square_of_each_image_that_may_hang_over_the_border(side: int) -> None:
    images = noise(300, 9, 12)
    out = cutout(images, rng(), side=side)
    sizes = boxes((out != images).any(3))
    assert out.dtype == torch.uint8 and sizes.max() == side
    assert (sizes == side).all(1).float().mean() > 0.4, "most squares lie within the picture"
    assert side == 1 or (sizes < side).any(0).all(), "some hang over, below and beside"


def test_cutout_paints_in_the_mean_colour_of_the_batch() -> None:
    images = noise(50) // torch.tensor([1, 2, 4], dtype=torch.uint8)
    painted = cutout(images, rng(), side=4)
    colours = painted[(painted != images).all(3)]
    assert len(colours) > 50 and (colours == colours[0]).all()
    assert (colours[0].float() - images.float().mean((0, 1, 2))).abs().max() <= 1


def test_cutout_reaches_every_pixel_at_another_place_in_each_image() -> None:
    images = noise(600, 6, 9)
    hidden = (cutout(images, rng(), side=2) != images).any(3)
    assert hidden.any(0).all() and len(hidden.unique(dim=0)) > 50
    assert torch.allclose(
        hidden[:, 1:-1, 1:-1].float().mean(0), torch.tensor(4 / 54), atol=0.045
    ), "none more than others"


# ---- mixup and cutmix ----


def test_mixup_blends_images_and_labels_by_the_same_share() -> None:
    images, shares = noise(3), torch.eye(3)
    kept = torch.tensor([1.0, 0.25, 0.5])
    out, labels = mixup(images, shares, torch.tensor([1, 2, 0]), kept)
    assert torch.equal(out[0], images[0].float()) and torch.equal(labels[0], shares[0])
    assert torch.allclose(out[1], 0.25 * images[1].float() + 0.75 * images[2].float())
    assert torch.allclose(labels, torch.tensor([[1, 0, 0], [0, 0.25, 0.75], [0.5, 0, 0.5]]))


def test_cutmix_takes_one_box_of_the_partner_and_labels_by_its_pixels() -> None:
    count = 200
    partner = torch.arange(count).roll(1)
    kept, corner = torch.rand(count, generator=rng(1)), torch.rand((2, count), generator=rng(2))
    out, labels = cutmix(plain(count), torch.eye(count), partner, kept, corner)
    pixels = out[..., 0].flatten(1).long()
    counted = torch.nn.functional.one_hot(pixels, count).float().mean(1)
    assert torch.allclose(labels, counted, atol=1e-6), (
        "each image's share of the labels is its share of the pixels"
    )
    assert torch.allclose(labels.sum(1), torch.ones(count)) and ((labels > 0).sum(1) <= 2).all()
    boxes(out[..., 0] == partner[:, None, None])


@pytest.mark.parametrize(("kept", "side"), [(1.0, 0), (0.75, 4), (0.4375, 6), (0.0, 8)])
def test_cutmix_within_the_picture_keeps_the_share_asked_for(kept: float, side: int) -> None:
    images = plain(2)
    out, labels = cutmix(
        images, torch.eye(2), torch.tensor([1, 0]), torch.full((2,), kept), torch.full((2, 2), 0.5)
    )
    assert boxes((out != images)[..., 0]).tolist() == [[side, side]] * 2
    assert torch.allclose(labels[0], torch.tensor([kept, 1 - kept]))


# ---- Jitter ----


def jittered(seed: int = 1, images: Tensor | None = None, **changes: Any) -> tuple[Tensor, Tensor]:
    images = noise(16) if images is None else images
    return Jitter(**changes)(images, torch.arange(len(images)) % 4, classes=4, seed=seed)


def test_jitter_that_is_all_off_returns_what_it_was_given() -> None:
    images, labels = noise(4), torch.arange(4)
    same, classes = Jitter()(images, labels, classes=4, seed=1)
    assert same is images and classes is labels


@pytest.mark.parametrize(
    "changes", [*({name: value} for name, value in EVERYTHING.items()), EVERYTHING], ids="-".join
)
def test_jitter_is_decided_by_its_seed(changes: dict[str, Any]) -> None:
    (one, labels), (again, too), (other, _) = (jittered(seed, **changes) for seed in (1, 1, 2))
    assert torch.equal(one, again) and torch.equal(labels, too)
    assert not torch.equal(one, other) and not torch.equal(one.float(), noise(16).float())


@pytest.mark.parametrize("changes", [{"mixup": 0.4}, {"cutmix": 1.0}, EVERYTHING], ids="-".join)
def test_mixed_labels_sum_to_one_over_at_most_two_classes(changes: dict[str, Any]) -> None:
    for seed in range(8):
        _, shares = jittered(seed, **changes)
        assert shares.shape == (16, 4) and (shares >= 0).all()
        assert torch.allclose(shares.sum(1), torch.ones(16))
        assert ((shares > 0).sum(1) <= 2).all() and (shares > 0).sum() > 16, "some are mixed"


@pytest.mark.parametrize(
    ("mixing", "blends"),
    [({"mixup": 0.4}, (40, 40)), ({"cutmix": 1.0}, (0, 0)), (EVERYTHING, (10, 30))],
)
def test_a_batch_is_either_blended_or_cut_and_with_both_on_at_even_odds(
    mixing: dict[str, Any], blends: tuple[int, int]
) -> None:
    only = {name: value for name, value in mixing.items() if name in ("mixup", "cutmix")}
    outs = [jittered(seed, plain(16), **only)[0] for seed in range(40)]
    blended = sum(bool((out == out[:, :1, :1]).all()) for out in outs)
    assert blends[0] <= blended <= blends[1]


def test_what_is_switched_on_does_not_change_what_else_is_drawn() -> None:
    images = noise(16, 12, 12)
    moved_only, _ = jittered(images=images, flip=True, shift=2)
    moved_and_cut, _ = jittered(images=images, flip=True, shift=2, cutout=4)
    cut_only, _ = jittered(images=images, cutout=4)
    painted = (moved_and_cut != moved_only).any(3)
    assert painted.any((1, 2)).all() and torch.equal(painted, (cut_only != images).any(3))


def test_mixing_is_drawn_alike_whatever_else_is_on() -> None:
    others = {name: value for name, value in EVERYTHING.items() if name != "cutmix"}
    assert torch.equal(jittered(**others)[1], jittered(mixup=0.4)[1])


def test_a_mirrored_image_is_cut_no_elsewhere_than_another() -> None:
    images = noise(400)
    flipped, _ = jittered(images=images, flip=True)
    cut, _ = jittered(images=images, cutout=2)
    mirrored = (flipped != images).flatten(1).any(1)
    above = (cut != images)[:, :4].flatten(1).any(1)
    assert torch.corrcoef(torch.stack([mirrored, above]).float())[0, 1].abs() < 0.15, (
        "streams are independent"
    )
