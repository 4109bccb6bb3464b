"""State that survives a crash: it lives outside the outs, which DVC deletes before a stage runs."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from imagetrail.base.files import remove, replacing
from imagetrail.compute import distributed
from imagetrail.training.state import Training

STATE = Path(".imagetrail")
KEPT = (
    3  # states of a stage, the newest: one may go back and forth between params without losing work
)
COST = 0.01  # share of the time that checkpoints within an epoch may take


def folder(stage: str, facts: Any) -> Path:
    """Where `stage` keeps its state for these inputs and params; other facts, another folder."""
    path = STATE / stage / digest(facts)
    path.mkdir(parents=True, exist_ok=True)
    path.touch()
    if (
        os.environ.get("LOCAL_RANK", "0") != "0"
    ):  # of several processes that torchrun has started, the first one tidies
        return path
    for old in sorted(path.parent.iterdir(), key=lambda other: other.stat().st_mtime)[:-KEPT]:
        remove(old)
    return path


def digest(facts: Any) -> str:
    """A name for these facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Keeper:
    """Saves a training now and then: often enough to lose little, seldom enough to cost little."""

    def __init__(self, path: Path, training: Training) -> None:
        self.path, self.training = path, training
        self.saved, self.cost = time.monotonic(), 0.0

    def save(self) -> None:
        before = time.monotonic()
        save(self.path, self.training)
        self.saved = time.monotonic()
        self.cost = self.saved - before

    def save_if_due(self) -> None:
        """Saves if so much time has passed that it takes no more than the share COST; the first time after a second."""
        if time.monotonic() - self.saved > max(1.0, self.cost / COST):
            self.save()


def save(path: Path, training: Training) -> None:
    """Writes weights, averages, the optimisers' state and the position in the epoch, whole or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in training.model.state_dict().items()}
    if training.average:
        tensors |= {
            f"average.{name}": tensor for name, tensor in training.average.state_dict().items()
        }
    for i, optimiser in enumerate(training.optimisers):
        for number, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{number}.{name}": value for name, value in state.items()}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    at = {
        "epoch": training.epoch,
        "step": training.step,
        "loss": training.loss,
        "images": training.images,
    }
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(whole, {"at": json.dumps(at)}))


def restore(path: Path, training: Training) -> None:
    """Brings `training`, freshly started, to the state saved in `path`, if there is one; a damaged file counts as none.

    Of several processes the first reads it, for all.
    """
    read = distributed.shared(_read(path) if distributed.rank() == 0 else None)
    if read is None:
        return
    at, tensors = read
    training.epoch, training.step, training.loss, training.images = (
        at["epoch"],
        at["step"],
        at["loss"],
        at["images"],
    )
    training.model.load_state_dict(_below("model", tensors))
    if training.average:
        training.average.load_state_dict(_below("average", tensors))
    for i, optimiser in enumerate(training.optimisers):
        _restore_optimiser(optimiser, _below(f"optimiser.{i}", tensors))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["at"]), {
                name: file.get_tensor(name) for name in file.keys()
            }
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        print(f"{path} is damaged ({error}); starting anew")
        return None


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [weight for group in optimiser.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = _laid_out(tensor, parameters[int(number)])
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})


def _laid_out(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor in the memory layout of its parameter: fused optimisers walk through both side by side."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
