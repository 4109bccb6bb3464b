"""Weights on disk: `model.json` rebuilds the network of `model.safetensors`; a pretrained trunk fits into another."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from imagetrail.base.errors import UserError, damaged, missing
from imagetrail.base.files import read_json, replacing, write_json
from imagetrail.models.classifier import Classifier, card
from imagetrail.models.networks import Spec


def save(model: Classifier, folder: Path) -> None:
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors))
    write_json(folder / "model.json", asdict(model.spec) | {"card": card(model)})


def load(folder: Path) -> Classifier:
    """The model saved in `folder`, ready for prediction."""
    described = read_json(folder / "model.json")
    described.pop("card")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in described.items()
    }
    model = Classifier(Spec(**values))
    model.load_state_dict(load_weights(folder / "model.safetensors"))
    return model.eval()


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file; raises UserError if it is missing or damaged."""
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise missing(path) from None
    except SafetensorError as error:
        raise damaged(path, error) from None


def load_trunk(model: Classifier, weights: dict[str, Tensor]) -> int:
    """Puts pretrained weights into every layer but the last; returns how many tensors that were.

    A first layer of grey pictures takes the weights of one of colour, and the other way round: to a grey picture it
    answers the same. Raises UserError if anything else differs.
    """
    own = model.network.state_dict()
    last = list(own)[-1].split(".")[0]
    wanted = {name: tensor for name, tensor in own.items() if not name.startswith(f"{last}.")}
    trunk = {
        name: _colour(weights[name], tensor) for name, tensor in wanted.items() if name in weights
    }
    for name, tensor in wanted.items():
        if name not in trunk or trunk[name].shape != tensor.shape:
            there = (
                f"{list(trunk[name].shape)} there and {list(tensor.shape)} here"
                if name in trunk
                else "not there"
            )
            raise UserError(
                f"the pretrained weights are of another model, width or image size than the recipe's {model.spec.model}: "
                f"{name} is {there}"
            )
    model.network.load_state_dict(trunk, strict=False)
    return len(trunk)


def _colour(kernel: Tensor, own: Tensor) -> Tensor:
    """The kernel O×I×H×W of a convolution for 1 or 3 channels, for as many as its counterpart has."""
    if kernel.ndim != 4 or own.ndim != 4 or {kernel.shape[1], own.shape[1]} != {1, 3}:
        return kernel
    return kernel.sum(1, keepdim=True) if own.shape[1] == 1 else kernel.expand(-1, 3, -1, -1) / 3
