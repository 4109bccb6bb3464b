"""Weights on disk: `model.json` rebuilds the network of `model.safetensors`; a trunk fits another.

A trunk's tensors are called `trunk.…` wherever they are, as in `model.safetensors`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from imagetrail.base import hub
from imagetrail.base.errors import UserError, damaged, missing
from imagetrail.base.files import read_json, replacing, write_json
from imagetrail.base.hub import Architecture
from imagetrail.models.classifier import Classifier, card
from imagetrail.models.networks import Spec

ARCHITECTURE = "architecture"  # in a file's metadata


def save(model: Classifier, folder: Path) -> None:
    save_weights(model.state_dict(), folder / "model.safetensors")
    write_json(folder / "model.json", asdict(model.spec) | {"card": card(model)})


def load(folder: Path) -> Classifier:
    """The model saved in `folder`, ready for prediction."""
    described = read_json(folder / "model.json")
    described.pop("card")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in described.items()
    }
    if values.get("architecture"):
        values["architecture"] = hub.described(values["architecture"])
    model = Classifier(Spec(**values))
    model.load_state_dict(load_weights(folder / "model.safetensors"))
    return model.eval()


def save_weights(
    weights: Mapping[str, Tensor], path: Path, *, architecture: Architecture | None = None
) -> None:
    """architecture: of the network of the hub that they belong to, kept beside them."""
    tensors = {name: tensor.contiguous().cpu() for name, tensor in weights.items()}
    facts = {ARCHITECTURE: json.dumps(asdict(architecture))} if architecture else None
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors, facts))


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file; raises UserError if it is missing or damaged."""
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise missing(path) from None
    except SafetensorError as error:
        raise damaged(path, error) from None


def load_architecture(path: Path) -> Architecture | None:
    """What `save_weights` has kept; raises UserError if the file is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
    except FileNotFoundError:
        raise missing(path) from None
    except SafetensorError as error:
        raise damaged(path, error) from None
    return hub.described(json.loads(facts[ARCHITECTURE])) if ARCHITECTURE in facts else None


def trunk_weights(model: Classifier) -> dict[str, Tensor]:
    return model.trunk.state_dict(prefix="trunk.")


def load_trunk(model: Classifier, weights: Mapping[str, Tensor]) -> int:
    """Puts pretrained weights into the trunk; returns how many tensors that were.

    A first layer of grey pictures takes the weights of one of colour, and the other way round: to a
    grey picture it answers the same. Raises UserError if anything else differs.
    """
    fitted: dict[str, Tensor] = {}
    for name, own in trunk_weights(model).items():
        if name not in weights:
            raise _unfit(model, f"{name} is not there")
        fitted[name] = _colour(weights[name], own)
        if fitted[name].shape != own.shape:
            shapes = f"{list(fitted[name].shape)} there and {list(own.shape)} here"
            raise _unfit(model, f"{name} is {shapes}")
    model.load_state_dict(fitted, strict=False)
    return len(fitted)


def _unfit(model: Classifier, why: str) -> UserError:
    return UserError(
        "the pretrained weights are of another model, width or image size "
        f"than the recipe's {model.spec.model}: {why}"
    )


def _colour(kernel: Tensor, own: Tensor) -> Tensor:
    """The kernel O×I×H×W of a convolution for 1 or 3 channels, for as many as `own` has."""
    if kernel.ndim != 4 or own.ndim != 4 or {kernel.shape[1], own.shape[1]} != {1, 3}:
        return kernel
    return kernel.sum(1, keepdim=True) if own.shape[1] == 1 else kernel.expand(-1, 3, -1, -1) / 3
