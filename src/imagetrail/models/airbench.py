"""Layers of airbench94 (Jordan, arXiv:2404.00498): small colour pictures in little time."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 2  # of the patches that are whitened, in pixels
FLOOR = 5e-4  # added to a variance, so that what hardly varies is not blown up


class Whitening(nn.Module):
    """N×C×H×W to N×(8·C)×(H − 1)×(W − 1): each patch of 2×2 pixels in uncorrelated directions.

    The filters, in both signs, are solved on pictures and not learned; the bias is learned.
    """

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels * SIDE**2
        pixels = torch.eye(half).view(half, channels, SIDE, SIDE)
        self.register_buffer("weight", torch.cat([pixels, -pixels]))
        self.bias = nn.Parameter(torch.zeros(2 * half))

    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, self.weight, self.bias)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Solves the filters for pictures N×C×H×W."""
        patches = (
            images.unfold(2, SIDE, 1).unfold(3, SIDE, 1).movedim(1, 3).flatten(3).flatten(0, 2)
        )
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (directions / (variances + FLOOR).sqrt()).T.view_as(self.weight[: len(variances)])
        self.weight.copy_(torch.cat([filters, -filters]))


class Largest(nn.Module):
    """N×C×H×W to N×C: the largest of all places."""

    def forward(self, features: Tensor) -> Tensor:
        return features.amax((2, 3))


class Scale(nn.Module):
    """Times a number: small logits at first, so that no class is ruled out early."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Tensor) -> Tensor:
        return logits * self.factor
