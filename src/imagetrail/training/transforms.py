"""Random changes to a batch of images on its way into training.

Each is a whole-batch function with a stream of its own. Images are n×H×W×C in 0 … 255; each image
of a batch gets a draw of its own. Draws are made on the CPU, pixels are changed where they are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from imagetrail.base.rng import derive, generator
from imagetrail.training import geometry, operations
from imagetrail.training.operations import RANDAUGMENT, TRIVIAL, Drawn, Ranges
from imagetrail.training.recipe import Recipe

Stream = Callable[[str], torch.Generator]  # of random numbers, by what they are for
Policy = list[tuple[Drawn, Ranges]]  # operations, one after another


@dataclass(frozen=True)
class Jitter:
    """What may happen to an image; 0 and False switch a change off."""

    crop: float = 0.0  # least share of the area that is cut out and enlarged
    flip: bool = False  # mirror left to right those whose turn it is
    turn: bool = False  # by a multiple of 90 degrees, at even odds
    shift: int = 0  # pixels, each way
    rotate: float = 0.0  # degrees, each way
    zoom: float = 0.0  # share by which it grows or shrinks at most
    shear: float = 0.0  # degrees, each way
    elastic: float = 0.0  # pixels by which a place moves, as a standard deviation
    trivial: float = 0.0  # share of images changed by one operation of TrivialAugment
    randaugment: int = 0  # operations of RandAugment on each image
    cutout: int = 0  # side of a square that is painted over, in pixels
    erase: float = 0.0  # share of images with a box painted over
    mixup: float = 0.0  # parameter of the Beta distribution of how two images are blended
    cutmix: float = 0.0  # the same for the area that one image takes of another

    @classmethod
    def of(cls, recipe: Recipe) -> "Jitter":
        return cls(**{field.name: getattr(recipe, field.name) for field in fields(cls)})

    def __call__(
        self, images: Tensor, labels: Tensor, mirrored: Tensor, *, classes: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """The images, uint8, changed, with their labels.

        labels: n int64, or shares n×classes, which they become where images are mixed. mirrored: n
        bool on the CPU, whom `flip` mirrors. The images stay uint8 where no pixel is read from
        between others and none are blended, and become float32 else.
        """

        def rng(purpose: str) -> torch.Generator:
            return torch.Generator().manual_seed(derive(seed, purpose))

        policy = self._drawn(len(images), rng)
        for drawn, ranges in policy:
            images = operations.toned(images, drawn, ranges)
        images = self._placed(images, mirrored if self.flip else None, policy, rng)
        if self.cutout:
            images = cutout(images, rng("cutout"), side=self.cutout)
        if self.erase:
            images = erase(images, rng("erase"), share=self.erase)
        if self.mixup or self.cutmix:
            shares = labels if labels.is_floating_point() else functional.one_hot(labels, classes)
            return self._mixed(images, shares.float(), seed)
        return images, labels

    def _drawn(self, count: int, rng: Stream) -> Policy:
        streams = [rng(f"randaugment {number}") for number in range(self.randaugment)]
        policy = [(operations.draw(count, stream), RANDAUGMENT) for stream in streams]
        if self.trivial:
            drawn = operations.draw(count, rng("trivial"), share=self.trivial)
            policy.insert(0, (drawn, TRIVIAL))
        return policy

    def _placed(
        self, images: Tensor, mirrored: Tensor | None, policy: Policy, rng: Stream
    ) -> Tensor:
        """All that moves pixels, in one reading of them."""
        count, height, width, _ = images.shape
        sides = height, width
        turned = self.turn or self.rotate or self.zoom or self.shear
        still = not (self.crop or turned or self.elastic)
        pixels = geometry.shifts(count, rng("shift"), most=self.shift) if self.shift else None
        if still and not policy:
            if mirrored is None and pixels is None:
                return images
            return geometry.moved(images, mirrored, pixels)
        change = geometry.moving(count, mirrored, pixels)
        if self.crop:
            change = geometry.crop(count, rng("crop"), least=self.crop, sides=sides) @ change
        if self.turn:
            change = change @ geometry.turns(count, rng("turn"), sides=sides)
        if self.rotate or self.zoom or self.shear:
            change = change @ geometry.affine(
                count, rng("affine"), rotate=self.rotate, zoom=self.zoom, shear=self.shear
            )
        for drawn, ranges in policy:
            change = change @ operations.placed(drawn, ranges, sides)
        if not self.elastic:
            return geometry.read(images, change)
        field = geometry.elastic(count, rng("elastic"), pixels=self.elastic, sides=sides)
        return geometry.read(images, change, field)

    def _mixed(self, images: Tensor, shares: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Where both kinds of mixing are on, each batch takes one of them at even odds."""
        rng = generator(seed, "mix")
        blend = bool(self.mixup) and (not self.cutmix or rng.random() < 0.5)
        alpha = self.mixup if blend else self.cutmix
        kept = torch.from_numpy(rng.beta(alpha, alpha, len(images))).float()
        partner = torch.from_numpy(rng.permutation(len(images)))
        if blend:
            return mixup(images, shares, partner, kept)
        corner = torch.from_numpy(rng.random((2, len(images)))).float()
        return cutmix(images, shares, partner, kept, corner)


def cutout(images: Tensor, rng: torch.Generator, *, side: int) -> Tensor:
    """A square, centred anywhere, painted in the batch's mean colour (arXiv:1708.04552).

    side: in pixels.
    """
    count, height, width = images.shape[:3]
    centre = torch.rand((2, count, 1), generator=rng) * torch.tensor([height, width])[:, None, None]
    half = torch.tensor(side / 2)
    hidden = _boxes(centre[0], centre[1], half, half, height, width)
    return _painted(images, hidden)


def _painted(images: Tensor, hidden: Tensor) -> Tensor:
    colour = images.float().mean((0, 1, 2)).to(images.dtype)
    return torch.where(hidden.to(images.device), colour, images)


def erase(images: Tensor, rng: torch.Generator, *, share: float) -> Tensor:
    """Of a share of the images, a box painted in the batch's mean colour (arXiv:1708.04896).

    Its area is 2 to 33 % of the picture's, its sides are to each other as 0.3 to 3.3; it lies
    within the picture.
    """
    count, height, width = images.shape[:3]
    drawn = torch.rand((5, count, 1), generator=rng)
    side, longer = (0.02 + 0.31 * drawn[0]).sqrt(), ((drawn[1] - 0.5) * math.log(3.3)).exp()
    high, wide = (side * longer).clamp(max=1) * height, (side / longer).clamp(max=1) * width
    row = high / 2 + drawn[2] * (height - high)
    column = wide / 2 + drawn[3] * (width - wide)
    hidden = _boxes(row, column, high / 2, wide / 2, height, width)
    return _painted(images, hidden & (drawn[4] < share)[:, :, None, None])


def mixup(images: Tensor, shares: Tensor, partner: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Each image blended with its partner; `kept` is its own share (arXiv:1710.09412)."""
    mine, partner, kept = images.float(), partner.to(images.device), kept.to(images.device)
    of_images, of_labels = kept[:, None, None, None], kept[:, None]
    blended = mine * of_images + mine[partner] * (1 - of_images)
    return blended, shares * of_labels + shares[partner] * (1 - of_labels)


def cutmix(
    images: Tensor, shares: Tensor, partner: Tensor, kept: Tensor, corner: Tensor
) -> tuple[Tensor, Tensor]:
    """A box of each image replaced by its partner's; labels are shared by area (arXiv:1905.04899).

    kept: n shares of the area before the box is cut off at the border. corner: 2×n in 0 … 1, the
    box's centre.
    """
    height, width = images.shape[1:3]
    half = (1 - kept).sqrt()[:, None] / 2
    centre = corner[:, :, None] * torch.tensor([height, width])[:, None, None]
    taken = _boxes(centre[0], centre[1], half * height, half * width, height, width)
    taken, partner = taken.to(images.device), partner.to(images.device)
    remains = 1 - taken.float().mean((1, 2, 3))[:, None]
    mixed = torch.where(taken, images[partner], images)
    return mixed, shares * remains + shares[partner] * (1 - remains)


def _boxes(
    row: Tensor, column: Tensor, half_height: Tensor, half_width: Tensor, height: int, width: int
) -> Tensor:
    """n×H×W×1: whether a pixel's middle lies in the box of its image."""
    inside_rows = (torch.arange(height) + 0.5 - row).abs() < half_height
    inside_columns = (torch.arange(width) + 0.5 - column).abs() < half_width
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[..., None]
