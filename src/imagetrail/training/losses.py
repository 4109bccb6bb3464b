"""What training minimises: LOSSES by name, with the weights of images and the shares of classes."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from imagetrail.training.batches import Batch
from imagetrail.training.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]  # logits n×K and targets n×K, rows of sum 1: a loss each

FOCUS = 2.0  # exponent of the focal loss, as published
# Of the symmetric loss: the shares of its two halves, as published for ten classes, and what stands
# for the logarithm of 0.
FORWARD, REVERSE, LOG_ZERO = 0.1, 1.0, -4.0


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="none")


def _focal(logits: Tensor, targets: Tensor) -> Tensor:
    logs = logits.log_softmax(1)
    return -(targets * (1 - logs.exp()) ** FOCUS * logs).sum(1)


def _symmetric(logits: Tensor, targets: Tensor) -> Tensor:
    reverse = -(logits.softmax(1) * targets.log().clamp(min=LOG_ZERO)).sum(1)
    return FORWARD * _cross_entropy(logits, targets) + REVERSE * reverse


# What is right already counts less: focal (arXiv:1708.02002). A label is believed less the less the
# model agrees: symmetric (arXiv:1908.06112). Targets may be shares, of mixed or smoothed labels.
LOSSES: dict[str, Loss] = {
    "cross_entropy": _cross_entropy,
    "focal": _focal,
    "symmetric": _symmetric,
}


def targets_of(batch: Batch, classes: int) -> Tensor:
    """n×K, whose rows sum to the weights of the images; the labels if all are 1 and sure."""
    targets = believed(batch.labels, batch.certainties, classes)
    if bool((batch.weights == 1).all()):
        return targets
    if not targets.is_floating_point():
        targets = functional.one_hot(targets, classes).float()
    return targets * batch.weights[:, None]


def believed(labels: Tensor, certainties: Tensor, classes: int) -> Tensor:
    """n×K shares: of a label as much as it is sure, of the others the rest, evenly.

    The labels if all are sure.
    """
    if bool((certainties == 1).all()):
        return labels
    others = (1 - certainties) / (classes - 1)
    named = functional.one_hot(labels, classes) == 1
    return torch.where(named, certainties[:, None], others[:, None])


def mean_loss(
    recipe: Recipe, logits: Tensor, targets: Tensor, shares: Tensor | None = None
) -> Tensor:
    """The mean over images of the recipe's loss times the weight of the image.

    targets: n int64; or n×K, of which a row sums to the weight of its image. shares: K, of the
    classes in an epoch, for logit adjustment (arXiv:2007.07314): a model that learns with the
    logarithm of them added answers, without it, as if all classes were equally frequent. Labels are
    then smoothed by the shares as well, lest rare classes be claimed for the smoothing's sake.
    """
    smoothing, classes = recipe.label_smoothing, logits.shape[1]
    even = logits.new_full((classes,), 1 / classes)
    if shares is not None:
        shift = recipe.logit_adjustment * shares.log()
        logits, even = logits + shift, shift.softmax(0)
    elif recipe.loss == "cross_entropy" and not targets.is_floating_point():
        return functional.cross_entropy(logits, targets, label_smoothing=smoothing)
    if not targets.is_floating_point():
        targets = functional.one_hot(targets, classes).float()
    weights = targets.sum(1)
    targets = targets / weights.clamp(min=torch.finfo(targets.dtype).tiny)[:, None]
    targets = (1 - smoothing) * targets + smoothing * even
    return (weights * LOSSES[recipe.loss](logits, targets)).mean()
