"""Training as a generator: it computes and yields steps and epochs.

Who consumes it logs, saves, prunes or stops.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from imagetrail.base import hub
from imagetrail.base.errors import UserError
from imagetrail.base.hub import Architecture
from imagetrail.base.samples import Samples
from imagetrail.compute import distributed
from imagetrail.models.airbench import Whitening
from imagetrail.models.classifier import Classifier
from imagetrail.models.inference import predict
from imagetrail.models.networks import Spec
from imagetrail.training import blends, losses, optimisers, steps
from imagetrail.training.batches import Mixture, channel_statistics
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training
from imagetrail.training.views import READ, Views

WHITENED = 5000  # pictures, at most, that a layer is solved for
# The head is solved on so many views, of so many pictures at most, before all layers learn.
HEAD_VIEWS, HEAD_PICTURES = 3, 40 * READ


@dataclass(frozen=True)
class Step:
    """An optimiser step; `number` counts from 1 in its epoch."""

    epoch: int
    number: int
    steps: int  # of an epoch
    images: int


@dataclass(frozen=True)
class Epoch:
    """An epoch; `number` counts from 1."""

    number: int
    train_loss: float
    valid_loss: float
    valid_top1: float
    valid_macro_recall: float  # mean over classes of the share of their images that is right
    lr: float  # at its last step


class Diverged(UserError):
    """The loss is no longer a finite number."""


def start(
    recipe: Recipe,
    train: Samples,
    *,
    seed: int,
    pretrained: dict[str, Tensor] | None = None,
    architecture: Architecture | None = None,
) -> Training:
    """A training about to begin, for the pictures of `train`.

    architecture: of the project's network of the hub, for recipes whose model it is.
    """
    mean, std = channel_statistics(train)
    _, height, width, channels = train.images.shape
    spec = Spec(
        model=recipe.model,
        activation=recipe.activation,
        initialisation=recipe.initialisation,
        width=recipe.width,
        dropout=recipe.dropout,
        classes=train.classes,
        image_size=height if height == width else (height, width),
        channels=channels,
        mean=mean,
        std=std,
        architecture=architecture if hub.named(recipe.model) else None,
        enlarge=recipe.enlarge,
    )
    training = Training(recipe, spec, seed=seed, pretrained=pretrained)
    _whiten(training.model, train)
    return training


def _whiten(model: Classifier, train: Samples) -> None:
    """Solves the layers that are solved on pictures, not learned."""
    layers = [layer for layer in model.modules() if isinstance(layer, Whitening)]
    if layers:
        numbers = np.arange(0, len(train), -(-len(train) // WHITENED))
        pictures = torch.from_numpy(train.gather(numbers)).to(model.mean.device)
        for layer in layers:
            layer.fit(model.normal(pictures))


def fit(
    training: Training, images: Mixture, valid: Samples, *, until: int | None = None
) -> Iterator[Epoch]:
    """Trains as `walk` does, and yields each epoch only."""
    return (
        event for event in walk(training, images, valid, until=until) if isinstance(event, Epoch)
    )


def walk(
    training: Training, images: Mixture, valid: Samples, *, until: int | None = None
) -> Iterator[Step | Epoch]:
    """Trains from where `training` stands; yields each step and epoch.

    It ends at the recipe's last epoch, or at epoch `until`. Every random draw depends on (seed,
    epoch, step) alone, so a training restored at any step goes on exactly. Raises Diverged if the
    loss becomes infinite or not a number.
    """
    if training.epoch >= (until or training.recipe.epochs):
        return iter(())
    follow = _learn if training.recipe.fine_tune else _solve
    return follow(training, images, valid, until or training.recipe.epochs)


def _solve(
    training: Training, images: Mixture, valid: Samples, until: int
) -> Iterator[Step | Epoch]:
    """The trunk stays; each epoch adds a view of every picture, and the head is solved anew."""
    views = Views(training, images)
    for number in range(1, until + 1):
        training.step = 0  # an epoch is not gone on with: its features are known
        for place, count in enumerate(views.add(number), 1):
            yield Step(number, place, views.steps, count)
        if number <= training.epoch:  # before a stop
            continue
        loss = views.solve()
        if not math.isfinite(loss):
            raise Diverged(f"the loss of the head became {loss} in epoch {number}")
        yield _ended(training, number, loss, views.predict(valid), valid, lr=0.0)


def _learn(
    training: Training, images: Mixture, valid: Samples, until: int
) -> Iterator[Step | Epoch]:
    """All layers learn."""
    network, recipe = distributed.synchronised(training.model), training.recipe
    rank, ranks, size = distributed.rank(), distributed.ranks(), recipe.batch_size
    each, schedule = _steps(len(images), size), optimisers.SCHEDULES[recipe.schedule]
    if recipe.logit_adjustment and training.teacher is None:  # its answers are adjusted already
        training.shares = torch.from_numpy(images.shares(training.seed)).to(training.machine.device)
    if training.pretrained and not training.epoch and not training.step:
        yield from _head_first(training, images, each)
    for number in range(training.epoch + 1, until + 1):
        batches = images.epoch(
            number, batch_size=size, seed=training.seed, skip=training.step, rank=rank, ranks=ranks
        )
        for batch in batches:
            targets = losses.targets_of(batch, len(training.model.spec.classes))
            lr = training.set_lr(schedule(_progress(training, training.step, each)))
            count = min(size, len(images) - training.step * size)  # over all processes
            loss = steps.take(training, network, batch, targets, share=len(targets) / count)
            if not math.isfinite(loss):
                where = f"epoch {number}, step {training.step + 1}, at learning rate {lr:.3g}"
                raise Diverged(f"the loss became {loss} in {where}; try a lower lr")
            training.step += 1
            training.loss += loss * count
            training.images += count
            yield Step(number, training.step, each, count)
        lr = training.set_lr(schedule(_progress(training, training.step - 1, each)))
        logits = _answers(training, valid) if rank == 0 else torch.empty(0)
        yield _ended(training, number, training.loss / training.images, logits, valid, lr=lr)


def _answers(training: Training, valid: Samples) -> Tensor:
    """Logits of `valid`, by images that had no part in choosing a blend that is not given."""
    if training.recipe.blend is not None:
        return predict(training.outcome, valid)
    labels = torch.from_numpy(valid.labels.copy())
    answers = torch.stack([predict(training.at(share), valid) for share in blends.BLENDS])
    training.blend = blends.BLENDS[blends.best(answers, labels)]
    return blends.by_other_half(answers, labels)


def _head_first(training: Training, images: Mixture, steps: int) -> Iterator[Step]:
    """Solves the head of a pretrained network.

    One that has all to learn would distort the features meanwhile (arXiv:2202.10054).
    """
    views = Views(training, images)
    for number in range(1, min(HEAD_VIEWS, training.recipe.epochs) + 1):
        for _ in views.add(number, most=HEAD_PICTURES // READ):
            yield Step(1, 0, steps, 0)
    views.solve()
    training.begin()


def _steps(images: int, batch_size: int) -> int:
    """Those of an epoch; raises UserError if a batch is too small for so many processes."""
    ranks, fewest = distributed.ranks(), min(batch_size, images)
    if ranks > 1 and fewest < 2 * ranks:
        raise UserError(
            f"{ranks} processes need 2 images each of a batch, and here are {fewest} in all"
        )
    return -(-images // batch_size)


def _progress(training: Training, step: int, steps: int) -> float:
    return (training.epoch + step / steps) / training.recipe.epochs


def _ended(
    training: Training, number: int, train_loss: float, logits: Tensor, valid: Samples, *, lr: float
) -> Epoch:
    """Ends an epoch. logits: of `valid`, by the first of several processes."""
    judged = (0.0, 0.0, 0.0)
    if distributed.rank() == 0:
        labels = torch.from_numpy(valid.labels.copy())
        judged = (
            nn.functional.cross_entropy(logits, labels).item(),
            *_recall(logits, labels),
        )
    valid_loss, valid_top1, valid_macro_recall = distributed.shared(judged)
    training.epoch, training.step, training.loss, training.images = number, 0, 0.0, 0
    return Epoch(number, train_loss, valid_loss, valid_top1, valid_macro_recall, lr)


def _recall(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The share of images that is right: of all, and in the mean of the classes that there are."""
    right, images = (logits.argmax(1) == labels).double(), torch.bincount(labels)
    by_class = torch.bincount(labels, right)[images > 0] / images[images > 0]
    return right.mean().item(), by_class.mean().item()
