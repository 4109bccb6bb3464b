"""Activation functions by name, and the gain that lets each start at the right scale."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from imagetrail.base.lookup import choose

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "celu": nn.CELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
}

# prelu is in it, as it may learn a negative slope
NOT_MONOTONIC = {"gelu", "hardswish", "mish", "prelu", "silu"}


def build(name: str) -> nn.Module:
    return choose(ACTIVATIONS, name, "activation")()


@torch.no_grad()
def gain(name: str) -> float:
    """The factor g for which g·f(z), z standard normal, has unit second moment about its mean.

    It generalises He's √2 for relu (arXiv:1502.01852) to any function, by Gauss–Hermite quadrature.
    The mean is left out because a constant shift, as of sigmoid, carries no signal.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(64)
    values = build(name)(torch.from_numpy(points).float()).double().numpy()
    weights = weights / weights.sum()
    mean = 0.0 if name in ("relu", "leaky_relu") else float(weights @ values)
    return float(1 / np.sqrt(weights @ (values - mean) ** 2))
