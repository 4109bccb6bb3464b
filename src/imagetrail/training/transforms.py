"""Random changes to a batch of images on its way into training.

Each is a whole-batch function with a stream of its own. Images are n×H×W×C in 0 … 255, uint8 or
float32; each image of a batch gets a draw of its own.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from imagetrail.base.rng import derive, generator
from imagetrail.training.recipe import Recipe


@dataclass(frozen=True)
class Jitter:
    """What may happen to an image; 0 and False switch a change off."""

    flip: bool = False  # mirror left to right at even odds
    shift: int = 0  # pixels, each way
    rotate: float = 0.0  # degrees, each way
    zoom: float = 0.0  # share by which it grows or shrinks at most
    shear: float = 0.0  # degrees, each way
    elastic: float = 0.0  # pixels by which a place moves, as a standard deviation
    cutout: int = 0  # side of a square that is painted over, in pixels
    mixup: float = 0.0  # parameter of the Beta distribution of how two images are blended
    cutmix: float = 0.0  # the same for the area that one image takes of another

    @classmethod
    def of(cls, recipe: Recipe) -> "Jitter":
        return cls(**{field.name: getattr(recipe, field.name) for field in fields(cls)})

    def __call__(
        self, images: Tensor, labels: Tensor, *, classes: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """The images changed, with labels n int64, or shares n×classes where images are mixed.

        labels: n int64, or shares n×classes.
        """

        def rng(purpose: str) -> torch.Generator:
            return torch.Generator().manual_seed(derive(seed, purpose))

        if self.flip or self.shift:
            images = move(images, rng("jitter"), flip=self.flip, shift=self.shift)
        if self.rotate or self.zoom or self.shear:
            images = affine(
                images, rng("affine"), rotate=self.rotate, zoom=self.zoom, shear=self.shear
            )
        if self.elastic:
            images = elastic(images, rng("elastic"), pixels=self.elastic)
        if self.cutout:
            images = cutout(images, rng("cutout"), side=self.cutout)
        if self.mixup or self.cutmix:
            shares = labels if labels.is_floating_point() else functional.one_hot(labels, classes)
            return self._mixed(images, shares.float(), seed)
        return images, labels

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


def move(images: Tensor, rng: torch.Generator, *, flip: bool, shift: int) -> Tensor:
    """Mirrored left to right at even odds, and moved by up to `shift` pixels.

    Pixels that move in repeat the border.
    """
    count, height, width = images.shape[:3]
    rows, columns = torch.arange(height).repeat(count, 1), torch.arange(width).repeat(count, 1)
    if flip:
        mirrored = torch.rand(count, generator=rng) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    if shift:
        moves = torch.randint(-shift, shift + 1, (2, count, 1), generator=rng)
        rows = (rows + moves[0]).clamp(0, height - 1)
        columns = (columns + moves[1]).clamp(0, width - 1)
    return images[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def affine(
    images: Tensor, rng: torch.Generator, *, rotate: float, zoom: float, shear: float = 0.0
) -> Tensor:
    """Turned and sheared by up to so many degrees, scaled by up to 1 ± `zoom`. float32."""
    count, height, width = images.shape[:3]
    drawn = 2 * torch.rand((3, count), generator=rng) - 1
    angle, scale = drawn[0] * math.radians(rotate), 1 / (1 + drawn[1] * zoom)
    slant = (drawn[2] * math.radians(shear)).tan()
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    zero = torch.zeros(count)
    matrices = torch.stack(  # in units of half a side, hence the ratio of the sides
        [
            torch.stack([cosine, (cosine * slant - sine) * height / width, zero], 1),
            torch.stack([sine * width / height, sine * slant + cosine, zero], 1),
        ],
        1,
    )
    grid = functional.affine_grid(matrices, [count, 1, height, width], align_corners=False)
    return _read(images, grid)


def elastic(images: Tensor, rng: torch.Generator, *, pixels: float, nodes: int = 5) -> Tensor:
    """Each place moved by its own pixels, smoothly. float32.

    Moves are normal draws at nodes×nodes places, cubic in between: a coarse relative of the field
    of Simard, Steinkraus and Platt (2003), at a fraction of its cost.
    """
    count, height, width = images.shape[:3]
    coarse = torch.randn((count, 2, nodes, nodes), generator=rng)
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    field = (smooth * pixels).permute(0, 2, 3, 1)
    shape = [1, 1, height, width]
    identity = functional.affine_grid(torch.eye(2, 3)[None], shape, align_corners=False)
    return _read(images, identity + field * torch.tensor([2 / width, 2 / height]))


def _read(images: Tensor, grid: Tensor) -> Tensor:
    """The images read at places n×H×W×2 in −1 … 1, bilinear; the border is repeated. float32."""
    planes = images.permute(0, 3, 1, 2).float()
    read = functional.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    return read.permute(0, 2, 3, 1)


def cutout(images: Tensor, rng: torch.Generator, *, side: int) -> Tensor:
    """A square, centred anywhere, painted in the batch's mean colour (arXiv:1708.04552).

    side: in pixels.
    """
    count, height, width = images.shape[:3]
    centre = torch.rand((2, count, 1), generator=rng) * torch.tensor([height, width])[:, None, None]
    half = torch.tensor(side / 2)
    hidden = _boxes(centre[0], centre[1], half, half, height, width)
    return torch.where(hidden, images.float().mean((0, 1, 2)).to(images.dtype), images)


def mixup(images: Tensor, shares: Tensor, partner: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Each image blended with its partner; `kept` is its own share (arXiv:1710.09412)."""
    mine = images.float()
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
