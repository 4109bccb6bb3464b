"""How much to keep of what all layers learned: a share of the way, chosen on valid."""

import torch
from torch import Tensor, nn

BLENDS = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of the way that are tried; 0: the solved head alone
TEMPERATURES = 2 ** torch.linspace(-2, 1, 13)


def best(answers: Tensor, labels: Tensor) -> int:
    """Which blend answers best, or 0, the head alone, unless another is told apart from it.

    Told apart: the mean of what a picture's loss is less by is more than its standard error. A loss
    is cross-entropy at the temperature that suits the blend: label smoothing makes a network less
    sure than it could be, and by the loss as it is, blends that are right more often would lose.

    answers: blends × images × classes, logits; labels: of the images, int64.
    """
    losses = torch.stack([_calibrated(logits, labels) for logits in answers])
    least = int(losses.mean(1).argmin())
    gain = losses[0] - losses[least]
    # the same as mean > standard error, and false of a single image
    return least if gain.sum() > gain.square().sum().sqrt() else 0


def by_other_half(answers: Tensor, labels: Tensor) -> Tensor:
    """Images × classes: each half of the images by the blend that is best on the other half.

    The best of all would flatter it, as it was chosen by the very same images.
    """
    odd = torch.arange(len(labels)) % 2 == 1
    first, second = (best(answers[:, half], labels[half]) for half in (~odd, odd))
    return torch.where(odd[:, None], answers[first], answers[second])


def _calibrated(logits: Tensor, labels: Tensor) -> Tensor:
    """Losses of images, at the best of TEMPERATURES."""
    losses = torch.stack(
        [
            nn.functional.cross_entropy(logits / temperature, labels, reduction="none")
            for temperature in TEMPERATURES
        ]
    )
    return losses[losses.mean(1).argmin()]
