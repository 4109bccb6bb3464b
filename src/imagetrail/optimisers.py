"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Muon(torch.optim.Muon):
    """Momentum orthogonalised by Newton-Schulz steps (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

    It takes the kernels of convolutions as the matrices they are: a row an output channel.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        self._weights = list(weights)
        views = [nn.Parameter(_matrix(weight.detach())) for weight in self._weights]  # of the same memory
        assert all(view.data_ptr() == weight.data_ptr() for view, weight in zip(views, self._weights, strict=True))
        super().__init__(views, lr=lr, weight_decay=weight_decay, momentum=0.8, ns_steps=3)

    def step(self, closure: Any = None) -> Any:
        for view, weight in zip(self.param_groups[0]["params"], self._weights, strict=True):
            view.grad = None if weight.grad is None else _matrix(weight.grad)
        return super().step(closure)  # type: ignore[no-untyped-call]  # as torch has it


def _matrix(weight: Tensor) -> Tensor:
    """O×I×H×W as O×(H·W·I): no copy where it is laid out channels last. A matrix stays what it is."""
    return weight.permute(0, 2, 3, 1).flatten(1) if weight.ndim == 4 else weight


def adamw(model: nn.Module, lr: float, weight_decay: float, batch: float) -> list[torch.optim.Optimizer]:
    """arXiv:1711.05101; its learning rate goes with the root of the batch size (arXiv:2205.10287)."""
    return [torch.optim.AdamW(_groups(model.parameters(), weight_decay), lr=lr * batch**0.5, fused=True)]


def sgd(model: nn.Module, lr: float, weight_decay: float, batch: float) -> list[torch.optim.Optimizer]:
    """With Nesterov momentum; its learning rate goes with the batch size (arXiv:1706.02677)."""
    return [torch.optim.SGD(_groups(model.parameters(), weight_decay), lr=lr * batch, momentum=0.9, nesterov=True)]


def muon(model: nn.Module, lr: float, weight_decay: float, batch: float) -> list[torch.optim.Optimizer]:
    """Muon for hidden layers; the last layer, biases and scales learn with AdamW at a tenth of its learning rate."""
    *hidden, _ = [weight for weight in model.parameters() if weight.ndim > 1]
    taken = {id(weight) for weight in hidden}
    others = [weight for weight in model.parameters() if id(weight) not in taken]
    rest = torch.optim.AdamW(_groups(others, weight_decay), lr=lr / 10 * batch**0.5, fused=True)
    return [Muon(hidden, lr * batch**0.5, weight_decay), rest] if hidden else [rest]


# Built for a model, a learning rate at 256 images a batch, a weight decay, and the batch size in units of 256 images.
OPTIMISERS: dict[str, Callable[[nn.Module, float, float, float], list[torch.optim.Optimizer]]] = {
    "adamw": adamw,
    "muon": muon,
    "sgd": sgd,
}


def _groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Decay for weights; none for biases and for scales of normalisation, which it would only distort."""
    known = list(parameters)
    weights = [weight for weight in known if weight.ndim > 1]
    rest = [weight for weight in known if weight.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _rise(progress: float, warm_up: float) -> float:
    return 0.04 + 0.96 * progress / warm_up


def one_cycle(progress: float, warm_up: float = 0.25) -> float:
    """Linear up for a quarter of the training, cosine down to nothing (arXiv:1708.07120)."""
    if progress < warm_up:
        return _rise(progress, warm_up)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def cosine(progress: float) -> float:
    """Down to nothing from a short warm-up on (arXiv:1608.03983)."""
    return one_cycle(progress, warm_up=0.05)


def constant(progress: float, warm_up: float = 0.05) -> float:
    return _rise(progress, warm_up) if progress < warm_up else 1.0


# The factor on the peak learning rate at a progress of 0 … 1 through the training.
SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "cosine": cosine, "one_cycle": one_cycle}
