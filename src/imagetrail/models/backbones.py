"""Networks of the Hugging Face hub as trunks, built from their config alone."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from imagetrail.base import hub
from imagetrail.base.errors import UserError
from imagetrail.base.hub import Architecture
from imagetrail.models.backbone import Backbone, Sides, replace
from imagetrail.models.layers import Mean, Shift
from imagetrail.models.timm_backbone import Timm
from imagetrail.models.transformers_backbone import Transformers

BACKBONES: dict[str, Callable[[Architecture, Path | None], Backbone]] = {
    "hub": Transformers,
    "timm": Timm,
}


def build(
    architecture: Architecture,
    *,
    sides: Sides,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    activation: str | None = None,
    weights: Path | None = None,
) -> tuple[nn.Sequential, int]:
    """A trunk of pictures normalised by `mean` and `std` per channel, and how many features it has.

    A grey picture becomes one of three equal channels. weights: of its library, to begin with.
    Raises UserError if it cannot be built, for weights of another network, and for pictures that
    it cannot take.
    """
    hub.check(architecture.name)
    backbone = BACKBONES[architecture.name.partition("/")[0]](architecture, weights)
    backbone.activate(activation)
    replace(backbone, _pools_all, Mean)
    for layer in backbone.modules():  # some have TensorFlow's share of the old, 1 − torch's
        if isinstance(layer, nn.BatchNorm2d) and layer.momentum and layer.momentum > 0.5:
            layer.momentum = round(1 - layer.momentum, 6)
    features = _tried(backbone, architecture, sides)
    colours = len(architecture.mean) // len(mean)
    shift = Shift(
        [own / their for own, their in zip(std * colours, architecture.std, strict=True)],
        [
            (own - middle) / spread
            for own, middle, spread in zip(
                mean * colours, architecture.mean, architecture.std, strict=True
            )
        ],
    )
    return nn.Sequential(shift, backbone), features


def _pools_all(layer: nn.Module) -> bool:
    return isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1))


@torch.no_grad()
def _tried(backbone: Backbone, architecture: Architecture, sides: Sides) -> int:
    """The number of features of a picture of such sides; raises UserError if it cannot be taken."""
    learned = f"it was learned on {architecture.size} pixels"
    height, width = sides
    refused = f"{architecture.name} cannot take pictures of {height}×{width} pixels (image_size)"
    patch = architecture.config.get("patch_size")
    if backbone.places and isinstance(patch, int) and any(side % patch for side in sides):
        raise UserError(f"{refused}: its patches need a multiple of {patch}; {learned}")
    try:
        seen, features = backbone.eval().look(torch.zeros(1, 3, *sides))
    except (RuntimeError, ValueError, AssertionError, ZeroDivisionError) as error:
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise UserError(f"{refused}: {reason}; {learned}") from None
    backbone.train()
    if 0 in seen.shape:
        raise UserError(f"{refused}: nothing of them is left in its last layer; {learned}")
    return features.shape[1]
