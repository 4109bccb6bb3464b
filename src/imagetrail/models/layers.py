"""Layers that torch lacks, and the widths that networks have in common."""

import torch
from torch import Tensor, nn


class Flatten(nn.Module):
    """N×C×H×W to N×(H·W·C): the order in memory, so nothing moves, and the order of Keras."""

    def forward(self, features: Tensor) -> Tensor:
        return features.permute(0, 2, 3, 1).flatten(1)


class Crop(nn.Module):
    """N×C×H×W to its upper left part."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, features: Tensor) -> Tensor:
        return features[:, :, : self.height, : self.width]


class Mean(nn.Module):
    """N×C×H×W to N×C×1×1: the mean over all places, whose sizes an exported file knows."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3), keepdim=True)


class Residual(nn.Sequential):
    """Layers whose result is added to what came in (arXiv:1512.03385)."""

    def forward(self, features: Tensor) -> Tensor:
        change = super().forward(features)  # type: ignore[no-untyped-call]  # as torch has it
        added: Tensor = features + change
        return added


class Shift(nn.Module):
    """Another zero and another unit for each channel: N×C×H×W times `scale` plus `offset`.

    Both are constants: they are rebuilt, not saved.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, scale: list[float], offset: list[float]) -> None:
        super().__init__()
        for name, values in (("scale", scale), ("offset", offset)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.offset


def scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)


def normalised_head(features: int, classes: int, dropout: float) -> nn.Sequential:
    """Features learned on other pictures, each brought to the scale that it has on these."""
    return nn.Sequential(
        nn.BatchNorm1d(features, affine=False), nn.Dropout(dropout), nn.Linear(features, classes)
    )
