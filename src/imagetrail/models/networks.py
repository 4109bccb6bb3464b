"""Networks by name, each built from a spec."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from imagetrail.base.errors import UserError
from imagetrail.models import activations, efficientnet
from imagetrail.models.layers import Crop, Flatten, Residual, scaled


@dataclass(frozen=True)
class Spec:
    """All it takes to build a network."""

    model: str
    activation: str
    width: float  # factor on the number of channels
    dropout: float  # before the last layer
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]  # per channel of the train split, in units of 0 … 255
    std: tuple[float, ...]
    initialisation: str = "gain"


def fast(spec: Spec) -> nn.Sequential:
    """Stages that halve the picture, made for accuracy per second on a CPU.

    Pooling comes before normalisation and activation: the same function for a monotonic one, a quarter of the work.
    """
    layers: list[nn.Module] = []
    channels = spec.channels
    for stage, wide in enumerate(_widths(spec)):
        layers += _halving(channels, wide, spec)
        if stage > 0:
            layers += _block(wide, wide, spec)
        channels = wide
    return nn.Sequential(*layers, *_head(channels, spec))


def resnet(spec: Spec) -> nn.Sequential:
    """The same stages and one at full size, with a residual block in each: made for accuracy."""
    channels = scaled(16, spec.width)
    layers = [*_block(spec.channels, channels, spec), _residual(channels, spec)]
    for wide in _widths(spec):
        layers += [*_halving(channels, wide, spec), _residual(wide, spec)]
        channels = wide
    return nn.Sequential(*layers, *_head(channels, spec))


def _widths(spec: Spec) -> list[int]:
    """The channels of each stage: as many stages as halve the picture to 4×4 or less, and two at least."""
    stages = max(2, math.ceil(math.log2(spec.image_size / 4)))
    return [scaled(min(32 * 2**stage, 256), spec.width) for stage in range(stages)]


def _halving(into: int, out: int, spec: Spec) -> list[nn.Module]:
    return [
        _conv(into, out),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(out),
        activations.build(spec.activation),
    ]


def _block(into: int, out: int, spec: Spec) -> list[nn.Module]:
    return [_conv(into, out), nn.BatchNorm2d(out), activations.build(spec.activation)]


def _residual(channels: int, spec: Spec) -> Residual:
    return Residual(*_block(channels, channels, spec), *_block(channels, channels, spec))


def _head(channels: int, spec: Spec) -> list[nn.Module]:
    side = spec.image_size >> len(_widths(spec))
    return [Flatten(), nn.Dropout(spec.dropout), nn.Linear(channels * side**2, len(spec.classes))]


def article(spec: Spec) -> nn.Sequential:
    """The network of the article: conv 32, pool, conv 64, pool, dense 64, dense K; no padding, no normalisation.

    Pooling drops an odd last row and column; pixels that only they see are left out: the same answers for a sixth less.
    """
    side = ((spec.image_size - 2) // 2 - 2) // 2
    if side < 1:
        raise UserError(
            f"model 'article' needs image_size 10 or more, not {spec.image_size}: its unpadded layers shrink it"
        )
    first, second, dense = (scaled(base, spec.width) for base in (32, 64, 64))
    seen = (2 * side + 2) * 2 + 2

    def pooled() -> list[nn.Module]:
        """Activation and pooling, the cheaper order where both are the same function."""
        layers = [nn.MaxPool2d(2), activations.build(spec.activation)]
        return layers[::-1] if spec.activation in activations.NOT_MONOTONIC else layers

    return nn.Sequential(
        *(Crop(seen), nn.Conv2d(spec.channels, first, 3), *pooled()),
        *(nn.Conv2d(first, second, 3), *pooled()),
        *(Flatten(), nn.Linear(second * side * side, dense), activations.build(spec.activation)),
        *(nn.Dropout(spec.dropout), nn.Linear(dense, len(spec.classes))),
    )


def mlp(spec: Spec) -> nn.Sequential:
    """One hidden layer on the pixels: what a network without convolutions reaches."""
    pixels, hidden = spec.channels * spec.image_size**2, scaled(256, spec.width)
    return nn.Sequential(
        *(Flatten(), nn.Linear(pixels, hidden), activations.build(spec.activation)),
        *(nn.Dropout(spec.dropout), nn.Linear(hidden, len(spec.classes))),
    )


def linear(spec: Spec) -> nn.Sequential:
    """Logistic regression on the pixels: the floor that every network must beat."""
    return nn.Sequential(
        Flatten(), nn.Linear(spec.channels * spec.image_size**2, len(spec.classes))
    )


def efficientnet_lite0(spec: Spec) -> nn.Sequential:
    """A network for photos, with weights learned on ImageNet to begin with: see `pretrain.weights`."""
    return efficientnet.lite0(
        size=spec.image_size,
        mean=spec.mean,
        std=spec.std,
        classes=len(spec.classes),
        activation=spec.activation,
        width=spec.width,
        dropout=spec.dropout,
    )


MODELS: dict[str, Callable[[Spec], nn.Sequential]] = {
    "article": article,
    "efficientnet_lite0": efficientnet_lite0,
    "fast": fast,
    "linear": linear,
    "mlp": mlp,
    "resnet": resnet,
}


def _conv(into: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(
        into, out, 3, padding=1, bias=False
    )  # batch normalisation follows and has the bias
