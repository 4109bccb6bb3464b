from typing import Any

import pytest
import torch
from torch import Tensor

from imagetrail.training.transforms import Jitter, cutmix, cutout, erase, mixup

WARPS = {"rotate": 20.0, "zoom": 0.2, "shear": 10.0, "elastic": 0.5}
POLICIES = {"crop": 0.4, "trivial": 0.8, "randaugment": 2, "erase": 0.5}
EVERYTHING = {
    "flip": True,
    "turn": True,
    "shift": 1,
    **WARPS,
    **POLICIES,
    "cutout": 3,
    "mixup": 0.4,
    "cutmix": 1.0,
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int = 8, width: int = 8) -> Tensor:
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=rng(count))


def plain(count: int) -> Tensor:
    """Images that are their own number all over."""
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].repeat(1, 8, 8, 1)


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


# ---- erase ----


def test_erasing_paints_a_box_of_its_own_in_the_given_share_of_the_images() -> None:
    images = noise(600, 30, 20)
    out = erase(images, rng(), share=0.4)
    hidden = (out != images).any(3)
    painted = hidden[hidden.any((1, 2))]
    assert out.dtype == torch.uint8 and 0.35 < len(painted) / 600 < 0.45
    sizes = boxes(painted).float() / torch.tensor([30, 20])
    area, shape = sizes.prod(1), sizes[:, 0] / sizes[:, 1]
    assert area.min() < 0.04 and 0.3 < area.max() < 0.38 and 0.13 < area.mean() < 0.22
    assert shape.min() < 0.5 and shape.max() > 2
    assert len(painted.unique(dim=0)) > 0.95 * len(painted)
    assert painted.any(0).float().mean() > 0.95, "it lies anywhere"


def test_nothing_is_erased_of_a_share_of_none_and_something_of_every_image_of_all() -> None:
    images = noise(200, 20, 20)
    assert torch.equal(erase(images, rng(), share=0.0), images)
    assert (erase(images, rng(), share=1.0) != images).flatten(1).any(1).all()


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
    labels, mirrored = torch.arange(len(images)) % 4, some(len(images))
    return Jitter(**changes)(images, labels, mirrored, classes=4, seed=seed)


def some(count: int) -> Tensor:
    """Half of so many."""
    return torch.randperm(count, generator=rng()) % 2 == 0


def test_jitter_that_is_all_off_returns_what_it_was_given() -> None:
    images, labels = noise(4), torch.arange(4)
    same, classes = Jitter()(images, labels, some(4), classes=4, seed=1)
    assert same is images and classes is labels


def test_only_those_whose_turn_it_is_are_mirrored_left_to_right() -> None:
    images = noise(16)
    out, _ = jittered(images=images, flip=True)
    assert torch.equal(out, torch.where(some(16)[:, None, None, None], images.flip(2), images))


@pytest.mark.parametrize(
    "changes",
    [*({name: value} for name, value in EVERYTHING.items() if name != "flip"), EVERYTHING],
    ids="-".join,
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


@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_in_their_range_and_shape_and_grey_ones_grey(channels: int) -> None:
    grey = noise(60, 20, 28)[..., :1].repeat(1, 1, 1, channels)
    out, _ = jittered(images=grey, **EVERYTHING)
    assert out.shape == grey.shape and out.min() >= 0 and out.max() <= 255
    assert torch.allclose(out.float(), out[..., :1].float().expand_as(out), atol=0.01)


@pytest.mark.parametrize("changes", [{"mixup": 0.4}, {"cutmix": 1.0}, EVERYTHING], ids="-".join)
def test_pixels_may_be_on_a_device_of_their_own(changes: dict[str, Any]) -> None:
    elsewhere = torch.device("meta")  # nothing is computed on it, nor mixed with what is elsewhere
    images, labels = noise(16).to(elsewhere), torch.arange(16, device=elsewhere)
    out, shares = Jitter(**changes)(images, labels, some(16), classes=16, seed=0)
    assert out.device == shares.device == elsewhere
    assert out.shape == images.shape and shares.shape == (16, 16)


@pytest.mark.parametrize("changes", [{name: value} for name, value in POLICIES.items()], ids=str)
def test_the_same_image_many_times_is_changed_in_many_ways(changes: dict[str, Any]) -> None:
    out, _ = jittered(images=noise(1, 20, 20).repeat(60, 1, 1, 1), **changes)
    assert len(out.float().unique(dim=0)) > 20


def test_a_shift_of_whole_pixels_beside_another_change_is_the_same_shift() -> None:
    images = noise(16, 12, 12)
    shifted, _ = jittered(images=images, flip=True, shift=2)
    read, _ = jittered(images=images, flip=True, shift=2, zoom=1e-9)
    assert (read - shifted.float()).abs().max() < 0.01


def test_a_share_of_the_images_is_left_as_it_is_by_trivial() -> None:
    images = noise(400)
    out, _ = jittered(images=images, trivial=0.25)
    changed = ((out - images.float()).abs() > 0.5).flatten(1).any(1).float().mean()
    assert 0.15 < changed < 0.27


def test_a_mirrored_image_is_cut_no_elsewhere_than_another() -> None:
    images = noise(400)
    flipped, _ = jittered(images=images, flip=True)
    cut, _ = jittered(images=images, cutout=2)
    mirrored = (flipped != images).flatten(1).any(1)
    above = (cut != images)[:, :4].flatten(1).any(1)
    assert torch.corrcoef(torch.stack([mirrored, above]).float())[0, 1].abs() < 0.15, (
        "streams are independent"
    )


@pytest.mark.parametrize("targets", [torch.zeros(6, dtype=torch.int64), torch.zeros(6, 3)])
def test_pixels_are_changed_on_the_device_that_they_are_on(targets: Tensor) -> None:
    """A device that only knows shapes refuses what mixes it with the CPU, as a GPU would."""
    images = torch.zeros(6, 16, 12, 3, dtype=torch.uint8, device="meta")
    for mixing in ({"mixup": 0.0}, {"cutmix": 0.0}, {"mixup": 0.0, "cutmix": 0.0}):
        jitter = Jitter(**EVERYTHING | mixing)
        changed, labels = jitter(images, targets.to("meta"), some(6), classes=3, seed=0)
        assert changed.device.type == labels.device.type == "meta"
        assert changed.shape == images.shape
