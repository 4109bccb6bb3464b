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
from imagetrail.base.terminal import say
from imagetrail.compute import distributed
from imagetrail.training.state import Training

STATE = Path(".imagetrail")
TRAININGS = "trainings"  # folder beside those of the stages
USED = "used"  # folder of a state, with an empty file for each training that it has asked for
KEPT = 3  # states of a stage, the newest, so that params may go back and forth
COST = 0.01  # share of the time that checkpoints within an epoch may take
POSITION = ("epoch", "step", "loss", "images", "blend")  # of a training, beside its tensors


def folder(stage: str, facts: Any) -> Path:
    """Where `stage` keeps its state for these inputs and params; other facts, another folder."""
    path = STATE / stage / digest(facts)
    path.mkdir(parents=True, exist_ok=True)
    path.touch()
    if os.environ.get("LOCAL_RANK", "0") == "0":  # of processes by torchrun the first one tidies
        _tidy(path.parent)
    return path


def _tidy(states: Path) -> None:
    """Removes the older states of a stage, and trainings that no state of any stage has used."""
    for old in sorted(states.iterdir(), key=lambda state: state.stat().st_mtime)[:-KEPT]:
        remove(old)
    trainings = list(STATE.glob(f"{TRAININGS}/*"))
    used = {note.name for note in STATE.glob(f"*/*/{USED}/*")}
    for training in trainings:
        if training.name not in used:
            remove(training)


def use(state: Path, training: Path) -> None:
    """Has the training kept for as long as this state is, and makes its folder."""
    note = state / USED / training.name
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()
    training.mkdir(parents=True, exist_ok=True)


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
        """Saves if that takes no more than the share COST; the first time after a second."""
        if time.monotonic() - self.saved > max(1.0, self.cost / COST):
            self.save()


def save(path: Path, training: Training) -> None:
    """Writes weights, averages, the optimisers' state and the position, whole or not at all."""
    tensors = {f"model.{name}": tensor for name, tensor in training.model.state_dict().items()}
    if training.average:
        averages = training.average.state_dict()
        tensors |= {f"average.{name}": tensor for name, tensor in averages.items()}
    if training.origin:
        origin = training.origin.state_dict()
        tensors |= {f"origin.{name}": tensor for name, tensor in origin.items()}
    for i, optimiser in enumerate(training.optimisers):
        for number, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{number}.{name}": value for name, value in state.items()}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    at = {name: getattr(training, name) for name in POSITION}
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(whole, {"at": json.dumps(at)}))


def restore(path: Path, training: Training) -> None:
    """Brings `training`, freshly started, to the state saved in `path`, if there is one.

    A damaged file counts as none. Of several processes the first reads it, for all.
    """
    read = distributed.shared(_read(path) if distributed.rank() == 0 else None)
    if read is None:
        return
    at, tensors = read
    for name in POSITION:
        setattr(training, name, at[name])
    training.model.load_state_dict(_below("model", tensors))
    if training.average:
        training.average.load_state_dict(_below("average", tensors))
    if training.origin:
        training.origin.load_state_dict(_below("origin", tensors))
    for i, optimiser in enumerate(training.optimisers):
        _restore_optimiser(optimiser, _below(f"optimiser.{i}", tensors))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return json.loads(file.metadata()["at"]), tensors
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        say(f"{path} is damaged ({error}); starting anew")
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
    """The tensor in its parameter's memory layout: fused optimisers walk through both at once."""
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
