"""Operations drawn for each picture: TrivialAugment and RandAugment, on whole batches.

None mirrors a picture or turns it far, so that what is written stays what it says.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from imagetrail.training.geometry import matrices

GREY = (0.299, 0.587, 0.114)  # of red, green, blue (ITU-R BT.601)


@dataclass(frozen=True)
class Ranges:
    """How far operations go at full strength."""

    slant: float  # pixels sideways for each pixel up
    move: float  # share of the side
    turn: float  # degrees
    factor: float  # on brightness, colour, contrast, sharpness: 1 ± so much
    bits: int  # that posterising leaves


TRIVIAL = Ranges(slant=0.99, move=0.45, turn=30, factor=0.99, bits=2)
RANDAUGMENT = Ranges(slant=0.3, move=0.45, turn=30, factor=0.9, bits=4)


@dataclass(frozen=True)
class Drawn:
    """An operation for each of n pictures."""

    kinds: Tensor  # n int64, places in OPERATIONS
    strengths: Tensor  # n in −1 … 1


def draw(count: int, rng: torch.Generator, *, share: float = 1.0) -> Drawn:
    """One operation and strength for a picture, all alike likely; none for the others."""
    kinds = torch.randint(len(OPERATIONS), (count,), generator=rng)
    strengths = 2 * torch.rand(count, generator=rng) - 1
    chosen = torch.rand(count, generator=rng) < share
    return Drawn(torch.where(chosen, kinds, 0), strengths)


def placed(drawn: Drawn, ranges: Ranges, sides: tuple[int, int]) -> Tensor:
    """What the operations do to places: matrices n×3×3, as `geometry` has them."""

    def of(kind: str) -> Tensor:
        return torch.where(drawn.kinds == OPERATIONS.index(kind), drawn.strengths, 0.0)

    angle = of("turn") * math.radians(ranges.turn)
    slant_x, slant_y = of("shear_x") * ranges.slant, of("shear_y") * ranges.slant
    right, down = of("move_x") * ranges.move * sides[1], of("move_y") * ranges.move * sides[0]
    cosine, sine = angle.cos(), angle.sin()
    return matrices(
        len(angle), cosine, slant_x - sine, slant_y + sine, cosine, right=right, down=down
    )


def toned(images: Tensor, drawn: Drawn, ranges: Ranges) -> Tensor:
    """What the operations do to grey levels and colours. uint8, as `images` are."""
    changed = images.clone()
    for kind, tone in TONES.items():
        chosen = (drawn.kinds == OPERATIONS.index(kind)).nonzero()[:, 0]
        if len(chosen):
            strengths = drawn.strengths[chosen].to(images.device)[:, None, None, None]
            chosen = chosen.to(images.device)
            changed[chosen] = tone(images[chosen], strengths, ranges)
    return changed


def brightness(images: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:
    return _blended(images, 0.0, strength, ranges)


def contrast(images: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:
    return _blended(images, _grey(images).mean((1, 2), keepdim=True), strength, ranges)


def colour(images: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:
    return _blended(images, _grey(images), strength, ranges)


def sharpness(images: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:
    """Towards the mean of a place's neighbours, itself five-fold, or away from it."""
    planes = images.permute(0, 3, 1, 2).float()
    framed = functional.pad(planes, (1, 1, 1, 1), mode="replicate")
    smooth = (functional.avg_pool2d(framed, 3, 1) * 9 + planes * 4) / 13
    return _blended(images, smooth.permute(0, 2, 3, 1), strength, ranges)


def posterise(images: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:
    lost = (strength.abs() * (8 - ranges.bits)).round().to(torch.uint8)
    return images >> lost << lost


def solarise(images: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:  # noqa: ARG001
    """Inverted from a grey level on, which is beyond white at strength 0."""
    return torch.where(images >= 256 * (1 - strength.abs()), 255 - images, images)


def autocontrast(images: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:  # noqa: ARG001
    """Each channel from its darkest to its brightest level over all of 0 … 255."""
    dark, bright = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)
    spread = (bright - dark).float().clamp(min=1)
    return _levels(torch.where(bright > dark, (images - dark) * (255 / spread), images))


def equalise(images: Tensor, strength: Tensor, ranges: Ranges) -> Tensor:  # noqa: ARG001
    """Each channel's levels spread so that all are about alike frequent, as OpenCV does it."""
    count, height, width, channels = images.shape
    levels = images.permute(0, 3, 1, 2).reshape(count * channels, -1).long()
    ones = torch.ones_like(levels, dtype=torch.int32)
    frequent = torch.zeros(len(levels), 256, dtype=torch.int32, device=images.device).scatter_add_(
        1, levels, ones
    )
    below = frequent.cumsum(1)
    first = frequent.gather(1, levels.amin(1, keepdim=True))
    spread = height * width - first
    table = torch.where(
        spread > 0, (below - first) * (255 / spread.clamp(min=1)), torch.arange(256.0)
    )
    equal = _levels(table).gather(1, levels)
    return equal.view(count, channels, height, width).permute(0, 2, 3, 1)


def _grey(images: Tensor) -> Tensor:
    """n×H×W×1 float32."""
    if images.shape[3] == 1:
        return images.float()
    return (images.float() @ torch.tensor(GREY, device=images.device))[..., None]


def _blended(images: Tensor, other: Tensor | float, strength: Tensor, ranges: Ranges) -> Tensor:
    """`other` at a factor of 0, the images at 1, beyond them at more."""
    return _levels(other + (images - other) * (1 + strength * ranges.factor))


def _levels(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


TONES: dict[str, Callable[[Tensor, Tensor, Ranges], Tensor]] = {
    "brightness": brightness,
    "colour": colour,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterise": posterise,
    "solarise": solarise,
    "autocontrast": autocontrast,
    "equalise": equalise,
}
OPERATIONS = ("nothing", "shear_x", "shear_y", "move_x", "move_y", "turn", *TONES)
