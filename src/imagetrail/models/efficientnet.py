"""EfficientNet-Lite0 to Lite2, in the shapes that their ImageNet weights have.

They are EfficientNet (arXiv:1905.11946) without squeeze and excitation; the first layer and the
last are the same in all (github.com/tensorflow/tpu, models/official/efficientnet/lite).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imagetrail.models import activations
from imagetrail.models.layers import Residual, Shift, normalised_head, scaled


@dataclass(frozen=True)
class Scale:
    """What tells the members of the family apart."""

    width: float  # factor on the channels of the stages
    depth: float  # factor on their blocks, save those of the first stage and the last
    size: int  # pixels a side of the pictures that the weights were learned on: the best


SCALES = {
    "efficientnet_lite0": Scale(1.0, 1.0, 224),
    "efficientnet_lite1": Scale(1.0, 1.1, 240),
    "efficientnet_lite2": Scale(1.1, 1.2, 260),
}
# Of each stage of Lite0: blocks, kernel, stride of the first block, factor on the channels within
# a block, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, LAST = 32, 1280  # channels of the first layer and of the last one
MAPPED = (3, 4, 5)  # stages
SMALLEST = 33  # pixels of the shorter side, of which the coarse maps are 3×3

Sides = tuple[int, int]  # H, W


class Pyramid(nn.Sequential):
    """Layers, some of which also hand on a 3×3 map of what they see: N×C×H×W to N×D.

    The maps come first in D, then the mean of the last layer over its places, and its greatest
    values.
    """

    def __init__(self, layers: list[nn.Module], maps: dict[int, nn.Module], coarse: int) -> None:
        super().__init__(*layers)
        self.maps = maps  # no weights in them; by the number of the layer they follow
        self.coarse = coarse  # features of theirs

    def forward(self, features: Tensor) -> Tensor:
        seen = []
        for number, layer in enumerate(self):
            features = layer(features)
            if number in self.maps:
                seen.append(self.maps[number](features).flatten(1))
        seen += [features.mean((2, 3)), features.amax((2, 3))]
        return torch.cat(seen, 1)


def enlargement(model: str, sides: Sides) -> int:
    """The whole factor that brings pictures nearest to the size that the network was learned on.

    What it knows are shapes of that size: CIFAR-10's pictures as they are would be specks to it. Of
    pictures that are not square it is the area that comes near. Networks that are not of this
    family take pictures as they are.
    """
    if model not in SCALES:
        return 1
    near = round(SCALES[model].size / math.sqrt(sides[0] * sides[1]))
    return max(near, math.ceil(SMALLEST / min(sides)))


def lite(
    scale: Scale,
    *,
    sides: Sides,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    classes: int,
    activation: str = "relu6",
    width: float = 1.0,
    dropout: float = 0.0,
) -> tuple[Pyramid, nn.Sequential]:
    """Trunk and head, for pictures normalised by `mean` and `std` per channel.

    Beside the mean of the last layer, the head reads coarse maps of stages 3 to 5: pictures unlike
    those of ImageNet are told apart by where simple parts are. It also reads the greatest values of
    the last layer, as fastai's heads do: a crack fills few places. The ImageNet weights were
    learned with relu6 and at width 1. sides: SMALLEST or more.
    """
    channels, last, seen = scaled(STEM, width), scaled(LAST, width), _halved(sides, 2)
    layers: list[nn.Module] = [
        _as_imagenet(mean, std),
        _layer(len(mean), channels, 3, 2, sides, activation),
    ]
    maps: dict[int, nn.Module] = {}
    coarse = 0
    for stage, (blocks, kernel, first, inner, wide) in enumerate(STAGES, 1):
        out = scaled(wide, width * scale.width)
        deep = blocks if stage in (1, len(STAGES)) else math.ceil(blocks * scale.depth)
        for stride in (first, *[1] * (deep - 1)):
            layers.append(_block(channels, out, inner, kernel, stride, seen, activation))
            channels, seen = out, _halved(seen, stride)
        if stage in MAPPED:
            maps[len(layers) - 1] = _in_thirds(seen)
            coarse += 9 * channels
    layers.append(_layer(channels, last, 1, 1, seen, activation))
    head = normalised_head(coarse + 2 * last, classes, dropout)
    return Pyramid(layers, maps, coarse), head


def _in_thirds(sides: Sides) -> nn.AvgPool2d:
    """Means of 3×3 fields of equal size, which overlap where the sides are no multiples of 3."""
    apart = sides[0] // 3, sides[1] // 3
    return nn.AvgPool2d((sides[0] - 2 * apart[0], sides[1] - 2 * apart[1]), apart)


def _halved(sides: Sides, stride: int) -> Sides:
    return -(-sides[0] // stride), -(-sides[1] // stride)


def _as_imagenet(mean: tuple[float, ...], std: tuple[float, ...]) -> Shift:
    """In the unit that the weights were learned in: (grey level − 127) / 128."""
    return Shift([spread / 128 for spread in std], [(middle - 127) / 128 for middle in mean])


def _block(
    into: int, out: int, factor: int, kernel: int, stride: int, sides: Sides, activation: str
) -> nn.Sequential:
    """Channels times `factor`, a convolution of each channel by itself, and `out` of their sums.

    What came in is added where it has the same shape.
    """
    inner = into * factor
    layers = [_layer(into, inner, 1, 1, sides, activation)] if factor > 1 else []
    layers += [
        _layer(inner, inner, kernel, stride, sides, activation, groups=inner),
        _layer(inner, out, 1, 1, sides, None),
    ]
    return (Residual if stride == 1 and into == out else nn.Sequential)(*layers)


def _layer(
    into: int,
    out: int,
    kernel: int,
    stride: int,
    sides: Sides,
    activation: str | None,
    *,
    groups: int = 1,
) -> nn.Sequential:
    """Convolution, normalisation, activation.

    Padded as TensorFlow does, where an odd pixel goes to the right and below.
    """
    high, wide = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in sides)
    even = high % 2 == 0 == wide % 2
    around = (wide // 2, wide - wide // 2, high // 2, high - high // 2)  # left, right, above, below
    padding = (high // 2, wide // 2) if even else 0
    return nn.Sequential(
        nn.Identity() if even else nn.ZeroPad2d(around),
        nn.Conv2d(into, out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3),
        *([activations.build(activation)] if activation else []),
    )
