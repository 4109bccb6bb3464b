"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from imagetrail.models.classifier import Classifier


class Muon(torch.optim.Muon):
    """Momentum orthogonalised by Newton-Schulz steps (kellerjordan.github.io/posts/muon, 2024).

    It takes the kernels of convolutions as the matrices they are: a row an output channel.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        self._weights = list(weights)
        views = [nn.Parameter(_matrix(weight.detach())) for weight in self._weights]
        for view, weight in zip(views, self._weights, strict=True):
            assert view.data_ptr() == weight.data_ptr(), "a view of the same memory"
        super().__init__(views, lr=lr, weight_decay=weight_decay, momentum=0.8, ns_steps=3)

    def step(self, closure: Any = None) -> Any:
        for view, weight in zip(self.param_groups[0]["params"], self._weights, strict=True):
            view.grad = None if weight.grad is None else _matrix(weight.grad)
        return super().step(closure)  # type: ignore[no-untyped-call]  # as torch has it


def _matrix(weight: Tensor) -> Tensor:
    """O×I×H×W as O×(H·W·I), not copied where it is laid out channels last; a matrix as it is."""
    return weight.permute(0, 2, 3, 1).flatten(1) if weight.ndim == 4 else weight


def adamw(
    model: Classifier, lr: float, weight_decay: float, batch: float, layer_decay: float = 1.0
) -> list[torch.optim.Optimizer]:
    """arXiv:1711.05101; lr goes with the root of the batch size (arXiv:2205.10287)."""
    groups = _groups(by_rate(model, layer_decay), lr * batch**0.5, weight_decay)
    return [torch.optim.AdamW(groups, fused=True)]


def sgd(
    model: Classifier, lr: float, weight_decay: float, batch: float, layer_decay: float = 1.0
) -> list[torch.optim.Optimizer]:
    """With Nesterov momentum; lr goes with the batch size (arXiv:1706.02677)."""
    groups = _groups(by_rate(model, layer_decay), lr * batch, weight_decay)
    return [torch.optim.SGD(groups, momentum=0.9, nesterov=True)]


def muon(
    model: Classifier, lr: float, weight_decay: float, batch: float, layer_decay: float = 1.0
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices and kernels of the trunk.

    The head, biases, scales and embeddings learn with AdamW at a tenth of its learning rate.
    """
    lr *= batch**0.5
    layers = [layer for layer in model.trunk.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hidden = {id(layer.weight) for layer in layers}
    built: list[torch.optim.Optimizer] = []
    others: Layers = []
    for rate, layer in by_rate(model, layer_decay):
        matrices = [weight for weight in layer if id(weight) in hidden]
        if matrices:
            built.append(Muon(matrices, lr * rate, weight_decay))
        others.append((rate, [weight for weight in layer if id(weight) not in hidden]))
    return [*built, torch.optim.AdamW(_groups(others, lr / 10, weight_decay), fused=True)]


class Optimise(Protocol):
    """Builds the optimisers of a model.

    lr: for 256 images a batch. batch: its size, in units of that. layer_decay: as in `by_rate`.
    """

    def __call__(
        self,
        model: Classifier,
        lr: float,
        weight_decay: float,
        batch: float,
        layer_decay: float = 1.0,
    ) -> list[torch.optim.Optimizer]: ...


OPTIMISERS: dict[str, Optimise] = {"adamw": adamw, "muon": muon, "sgd": sgd}

# Parameters, with the factor on their learning rate.
Layers = list[tuple[float, list[nn.Parameter]]]


def by_rate(model: Classifier, decay: float) -> Layers:
    """The parameters layer by layer; each learns at `decay` of the rate of the one after it.

    Early layers hold what all pictures have in common, and should change least (arXiv:1801.06146).
    A layer is a matrix or kernel, with the biases and scales that follow it.
    """
    layers: list[list[nn.Parameter]] = [[]]
    for weight in model.parameters():
        if weight.ndim > 1 and layers[-1] and decay < 1:
            layers.append([])
        layers[-1].append(weight)
    return [(decay ** (len(layers) - 1 - depth), layer) for depth, layer in enumerate(layers)]


def _groups(layers: Layers, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Decay for weights; none for biases and scales of normalisation, which it would distort."""
    groups: list[dict[str, Any]] = []
    for rate, layer in layers:
        weights = [weight for weight in layer if weight.ndim > 1]
        rest = [weight for weight in layer if weight.ndim <= 1]
        groups.append({"params": weights, "weight_decay": weight_decay, "lr": lr * rate})
        groups.append({"params": rest, "weight_decay": 0.0, "lr": lr * rate})
    return groups


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
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
}
