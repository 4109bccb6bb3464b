"""Optimisers by name, and the learning-rate schedule as a plain function of progress."""

import math
from collections.abc import Callable

import torch
from torch import nn

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, fused=True),
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True),
}


def groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Decay for weights; none for biases and for scales of normalisation, which it would only distort."""
    weights = [weight for weight in model.parameters() if weight.ndim > 1]
    rest = [weight for weight in model.parameters() if weight.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def one_cycle(progress: float, warm_up: float = 0.25) -> float:
    """The factor on the peak learning rate at `progress` in 0 … 1: linear up, cosine down (arXiv:1708.07120)."""
    if progress < warm_up:
        return 0.04 + 0.96 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))
