"""One optimiser step: pictures changed at random, a loss, its gradient."""

import torch
from torch import Tensor, nn

from imagetrail.base.rng import derive
from imagetrail.compute import distributed
from imagetrail.training import losses
from imagetrail.training.batches import Batch
from imagetrail.training.state import Training
from imagetrail.training.transforms import Jitter


def take(
    training: Training, network: nn.Module, batch: Batch, targets: Tensor, *, share: float
) -> float:
    """An optimiser step on this process's share of a batch; returns the loss of the whole batch."""
    draw = derive(training.seed, "step", training.epoch + 1, training.step, distributed.rank())
    training.machine.seed(draw)  # dropout draws from torch's global stream
    images, targets = Jitter.of(training.recipe)(
        training.machine.take(batch.images),
        training.machine.take(targets),
        batch.mirrored,
        classes=len(training.model.spec.classes),
        seed=draw,
    )
    network.train()
    if training.pretrained:
        _keep_statistics(training.model)
    loss = _loss(training, network, images, targets)
    training.model.zero_grad()
    torch.autograd.backward(loss * (share * distributed.ranks()))
    for optimiser in training.optimisers:
        optimiser.step()
    if training.average:
        training.average.update_parameters(training.model)
    return distributed.total(loss.item() * share)


def _keep_statistics(model: nn.Module) -> None:
    """Normalisation goes on with the means and variances that it has learned."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.eval()


def _loss(training: Training, network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    with training.machine.autocast():
        logits = network(images).float()
        if training.teacher is not None:  # it sees the very same pictures (arXiv:2106.05237)
            with torch.no_grad():
                answers = training.teacher.eval()(images).float().softmax(1)
            weighed = targets.is_floating_point()
            weights = targets.sum(1, keepdim=True) if weighed else 1.0
            targets = answers * weights
    return losses.mean_loss(training.recipe, logits, targets, training.shares)
