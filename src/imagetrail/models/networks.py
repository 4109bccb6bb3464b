"""Networks by name, each built from a spec."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from imagetrail.base import hub
from imagetrail.base.errors import UserError
from imagetrail.base.hub import Architecture
from imagetrail.base.lookup import choose
from imagetrail.models import activations, backbones, efficientnet
from imagetrail.models.airbench import Largest, Scale, Whitening
from imagetrail.models.layers import Crop, Flatten, Residual, normalised_head, scaled


@dataclass(frozen=True)
class Spec:
    """All it takes to build a network."""

    model: str
    activation: str | None  # None: the network's own
    width: float  # factor on the number of channels
    dropout: float  # of the features, before the last layer
    classes: tuple[str, ...]
    image_size: int | tuple[int, int]  # pixels: of both sides, or height and width
    channels: int
    mean: tuple[float, ...]  # per channel of the train split, in units of 0 … 255
    std: tuple[float, ...]
    initialisation: str = "gain"
    architecture: Architecture | None = None  # of a network of the hub
    enlarge: int | None = None  # factor on the sides of pictures on their way in; None: its own

    @property
    def shape(self) -> tuple[int, int, int]:
        """H, W, C of its pictures."""
        size = self.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return height, width, self.channels

    @property
    def factor(self) -> int:
        """By which pictures are enlarged."""
        height, width, _ = self.shape
        return self.enlarge or efficientnet.enlargement(self.model, (height, width))

    @property
    def sides(self) -> tuple[int, int]:
        """H and W of what the trunk sees."""
        height, width, _ = self.shape
        return height * self.factor, width * self.factor

    @property
    def nonlinearity(self) -> str:
        """The activation of one of our networks."""
        return self.activation or ("relu6" if self.model in efficientnet.SCALES else "relu")


Network = tuple[nn.Module, nn.Module]  # trunk and head


def fast(spec: Spec) -> Network:
    """Stages that halve the picture, made for accuracy per second on a CPU.

    Pooling comes before normalisation and activation: the same function for a monotonic one, a
    quarter of the work.
    """
    layers: list[nn.Module] = []
    channels = spec.channels
    for stage, wide in enumerate(widths(spec)):
        layers += _halving(channels, wide, spec)
        if stage > 0:
            layers += _block(wide, wide, spec)
        channels = wide
    return nn.Sequential(*layers, Flatten()), _head(_flat(spec), spec)


def resnet(spec: Spec) -> Network:
    """The same stages and one at full size, with a residual block in each: made for accuracy."""
    channels = scaled(16, spec.width)
    layers = [*_block(spec.channels, channels, spec), _residual(channels, spec)]
    for wide in widths(spec):
        layers += [*_halving(channels, wide, spec), _residual(wide, spec)]
        channels = wide
    return nn.Sequential(*layers, Flatten()), _head(_flat(spec), spec)


def widths(spec: Spec) -> list[int]:
    """The channels of each stage of `fast` and `resnet`."""
    stages = halvings(*spec.sides)
    return [scaled(min(32 * 2**stage, 256), spec.width) for stage in range(stages)]


def halvings(height: int, width: int) -> int:
    """So many that the longer side is 4 or less, while the shorter can be halved; 2 at least."""
    sides = height, width
    return max(2, min(math.ceil(math.log2(max(sides) / 4)), math.floor(math.log2(min(sides)))))


def _flat(spec: Spec) -> int:
    """The size of the last stage's maps, flattened."""
    stages = widths(spec)
    height, width = spec.sides
    return stages[-1] * (height >> len(stages)) * (width >> len(stages))


def _halving(into: int, out: int, spec: Spec) -> list[nn.Module]:
    convolution, *rest = _block(into, out, spec)
    return [convolution, nn.MaxPool2d(2), *rest]


def _block(into: int, out: int, spec: Spec) -> list[nn.Module]:
    # without a bias, as that of the normalisation follows
    convolution = nn.Conv2d(into, out, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out), activations.build(spec.nonlinearity)]


def _residual(channels: int, spec: Spec) -> Residual:
    return Residual(*_block(channels, channels, spec), *_block(channels, channels, spec))


def _head(features: int, spec: Spec) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(spec.dropout), nn.Linear(features, len(spec.classes)))


def airbench(spec: Spec) -> Network:
    """The network of airbench94 (arXiv:2404.00498), with as many stages as the picture asks for.

    Patches are whitened by filters that are not learned; of each map the largest value counts.
    """
    first = Whitening(spec.channels)
    layers: list[nn.Module] = [first, activations.build(spec.nonlinearity)]
    channels = len(first.bias)
    for stage in range(halvings(*(side - 1 for side in spec.sides))):
        wide = scaled(256 if stage else 64, spec.width)
        layers += [*_halving(channels, wide, spec), *_block(wide, wide, spec)]
        channels = wide
    return nn.Sequential(*layers, Largest()), nn.Sequential(*_head(channels, spec), Scale(1 / 9))


def article(spec: Spec) -> Network:
    """The network of the article: no padding, no normalisation.

    Convolution 32, pooling, convolution 64, pooling, dense 64, dense K. Pooling drops an odd last
    row and column; pixels that only they see are left out: the same answers for a sixth less.
    """
    height, width = (((side - 2) // 2 - 2) // 2 for side in spec.sides)
    if min(height, width) < 1:
        raise UserError(
            f"model 'article' needs image_size 10 or more, not {min(spec.sides)}: "
            "its unpadded layers shrink it"
        )
    first, second, dense = (scaled(base, spec.width) for base in (32, 64, 64))
    seen = [(2 * side + 2) * 2 + 2 for side in (height, width)]

    def pooled() -> list[nn.Module]:
        """Activation and pooling, the cheaper order where both are the same function."""
        layers = [nn.MaxPool2d(2), activations.build(spec.nonlinearity)]
        return layers[::-1] if spec.nonlinearity in activations.NOT_MONOTONIC else layers

    trunk = nn.Sequential(
        *(Crop(*seen), nn.Conv2d(spec.channels, first, 3), *pooled()),
        *(nn.Conv2d(first, second, 3), *pooled()),
        *(Flatten(), nn.Linear(second * height * width, dense)),
        activations.build(spec.nonlinearity),
    )
    return trunk, _head(dense, spec)


def mlp(spec: Spec) -> Network:
    """One hidden layer on the pixels: what a network without convolutions reaches."""
    pixels, hidden = _pixels(spec), scaled(256, spec.width)
    trunk = nn.Sequential(
        Flatten(), nn.Linear(pixels, hidden), activations.build(spec.nonlinearity)
    )
    return trunk, _head(hidden, spec)


def linear(spec: Spec) -> Network:
    """Logistic regression on the pixels: the floor that every network must beat."""
    return Flatten(), nn.Linear(_pixels(spec), len(spec.classes))


def _pixels(spec: Spec) -> int:
    return math.prod(spec.sides) * spec.channels


def efficientnet_lite(spec: Spec) -> Network:
    """A network for photos, with weights learned on ImageNet to begin with: `pretrain.weights`."""
    if min(spec.sides) < efficientnet.SMALLEST:
        raise UserError(
            f"model {spec.model!r} needs image_size {efficientnet.SMALLEST} or more, not "
            f"{min(spec.sides)}: recipe.enlarge makes pictures larger on their way in"
        )
    return efficientnet.lite(
        efficientnet.SCALES[spec.model],
        sides=spec.sides,
        mean=spec.mean,
        std=spec.std,
        classes=len(spec.classes),
        activation=spec.nonlinearity,
        width=spec.width,
        dropout=spec.dropout,
    )


def from_hub(spec: Spec) -> Network:
    """One that another library builds, with a head for these classes."""
    if spec.architecture is None or spec.architecture.name != spec.model:
        raise UserError(
            f"{spec.model} is not the network that stage pretrain has prepared; a project has one "
            "network of the hub: recipe.model"
        )
    if spec.width != 1:
        raise UserError(f"recipe.width: {spec.model} comes in one width: 1, not {spec.width:g}")
    trunk, features = backbones.build(
        spec.architecture,
        sides=spec.sides,
        mean=spec.mean,
        std=spec.std,
        activation=spec.activation,
    )
    return trunk, normalised_head(features, len(spec.classes), spec.dropout)


# Each builds a trunk, of normalised pictures N×C×H×W to features N×D, and a head, of these to
# logits N×K. What regularises features (dropout, a normalisation of them) is in the head.
MODELS: dict[str, Callable[[Spec], Network]] = {
    "airbench": airbench,
    "article": article,
    "efficientnet_lite0": efficientnet_lite,
    "efficientnet_lite1": efficientnet_lite,
    "efficientnet_lite2": efficientnet_lite,
    "fast": fast,
    "linear": linear,
    "mlp": mlp,
    "resnet": resnet,
}


def build(spec: Spec) -> Network:
    """The network of a spec; raises UserError if it cannot be built."""
    if hub.named(spec.model):
        return from_hub(spec)
    return choose(MODELS, spec.model, "model")(spec)
