"""State that survives a crash: it lives outside the outs, which DVC deletes before a stage runs."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from imagetrail.errors import UserError
from imagetrail.files import remove, replacing
from imagetrail.training import Training

STATE = Path(".imagetrail")
KEPT = 3  # states of a stage, the newest: one may go back and forth between params without losing work


def folder(stage: str, facts: Any) -> Path:
    """Where `stage` keeps its state for these inputs and params; other facts, another folder."""
    key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    path = STATE / stage / key
    path.mkdir(parents=True, exist_ok=True)
    path.touch()
    for old in sorted(path.parent.iterdir(), key=lambda other: other.stat().st_mtime)[:-KEPT]:
        remove(old)
    return path


def save(path: Path, training: Training) -> None:
    """Writes weights, optimiser state and the epoch, whole or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in training.model.state_dict().items()}
    for number, state in training.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in state.items()}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with replacing(path) as temporary:
            save_file(whole, temporary, metadata={"epoch": str(training.epoch)})
    except SafetensorError as error:  # a full disk, for one, is no OSError to safetensors
        raise UserError(f"{path} cannot be written: {error}") from None


def _laid_out(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor in the memory layout of its parameter: fused optimisers walk through both side by side."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor


def restore(path: Path, training: Training) -> None:
    """Brings `training`, freshly started, to the state saved in `path`; a damaged file counts as none."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  safe_open is no mapping
            epoch = int(file.metadata()["epoch"])
    except SafetensorError as error:
        print(f"{path} is damaged ({error}); starting anew")
        return
    training.epoch = epoch
    model = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    training.model.load_state_dict(model)
    parameters = [weight for group in training.optimiser.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, number, key = name.split(".")
            state.setdefault(int(number), {})[key] = _laid_out(tensor, parameters[int(number)])
    whole = training.optimiser.state_dict()
    training.optimiser.load_state_dict(whole | {"state": state})
