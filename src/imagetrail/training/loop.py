"""Training as a generator of steps and epochs: it computes and yields; who consumes it logs, saves, prunes or stops."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from imagetrail.base.errors import UserError
from imagetrail.base.rng import derive
from imagetrail.base.samples import Samples
from imagetrail.compute import distributed
from imagetrail.compute.device import this_machine
from imagetrail.models.classifier import Classifier
from imagetrail.models.inference import predict
from imagetrail.models.networks import Spec
from imagetrail.models.weights import load_trunk
from imagetrail.training import optimisers
from imagetrail.training.batches import Mixture, channel_statistics
from imagetrail.training.recipe import Recipe
from imagetrail.training.transforms import Jitter


@dataclass(frozen=True)
class Step:
    """What an optimiser step tells; `number` counts from 1 in its epoch."""

    epoch: int
    number: int
    steps: int  # of an epoch
    images: int


@dataclass(frozen=True)
class Epoch:
    """What an epoch tells; `number` counts from 1."""

    number: int
    train_loss: float
    valid_loss: float
    valid_top1: float
    lr: float  # at its last step


class Diverged(UserError):
    """The loss is no longer a finite number."""


class Training:
    """The state that training moves on, and that a checkpoint holds."""

    def __init__(
        self, recipe: Recipe, spec: Spec, *, seed: int, pretrained: dict[str, Tensor] | None = None
    ) -> None:
        if not pretrained:
            recipe = recipe.model_copy(
                update={"probe": 0.0, "layer_decay": 1.0}
            )  # which only spare what is learned already
        self.recipe, self.seed = recipe, seed
        self.machine = this_machine()
        torch.manual_seed(derive(seed, "init"))
        self.model = Classifier(spec).to(self.machine.device)
        if pretrained:
            load_trunk(self.model, pretrained)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.weights = list(self.model.parameters())
        build = optimisers.OPTIMISERS[recipe.optimiser]
        self.optimisers = build(
            self.model, recipe.lr, recipe.weight_decay, recipe.batch_size / 256, recipe.layer_decay
        )
        for group in self._groups():
            group["peak"] = group["lr"]
        self.teacher: Classifier | None = (
            None  # whose probabilities, where there is one, replace the labels
        )
        self.average = (
            AveragedModel(self.model, multi_avg_fn=_average(recipe.ema), use_buffers=True)
            if recipe.ema
            else None
        )
        self.epoch = 0  # epochs done
        self.step = 0  # steps done in the epoch that has begun
        self.loss, self.images = 0.0, 0  # their sum of losses, and how many images that was

    @property
    def outcome(self) -> Classifier:
        """The model that training would give if it ended now."""
        if self.average is None:
            return self.model
        assert isinstance(self.average.module, Classifier)
        return self.average.module

    def set_lr(self, factor: float) -> float:
        """Sets every learning rate to `factor` of its peak; returns the largest."""
        for group in self._groups():
            group["lr"] = group["peak"] * factor
        return max(float(group["lr"]) for group in self._groups())

    def _groups(self) -> list[dict[str, float]]:
        return [group for optimiser in self.optimisers for group in optimiser.param_groups]


Tensors = list[Tensor] | tuple[Tensor, ...]


def _average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """An exponential moving average that follows closely at first, when the weights still move fast."""

    def update(averages: Tensors, weights: Tensors, count: Tensor | int) -> None:
        if averages[0].is_floating_point():
            torch._foreach_lerp_(
                averages, weights, 1 - min(decay, (1 + int(count)) / (10 + int(count)))
            )
        else:
            torch._foreach_copy_(averages, weights)

    return update


def start(
    recipe: Recipe, train: Samples, *, seed: int, pretrained: dict[str, Tensor] | None = None
) -> Training:
    """A training about to begin, for the pictures of `train`."""
    mean, std = channel_statistics(train)
    _, size, _, channels = train.images.shape
    spec = Spec(
        model=recipe.model,
        activation=recipe.activation,
        initialisation=recipe.initialisation,
        width=recipe.width,
        dropout=recipe.dropout,
        classes=train.classes,
        image_size=size,
        channels=channels,
        mean=mean,
        std=std,
    )
    return Training(recipe, spec, seed=seed, pretrained=pretrained)


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
    """Trains from where `training` stands to the recipe's last epoch, or to epoch `until`; yields each step and epoch.

    Every random draw depends on (seed, epoch, step) alone, so a training restored at any step goes on exactly.
    Raises Diverged if the loss becomes infinite or not a number.
    """
    network, rank, ranks = (
        distributed.synchronised(training.model),
        distributed.rank(),
        distributed.ranks(),
    )
    size, schedule = training.recipe.batch_size, optimisers.SCHEDULES[training.recipe.schedule]
    steps = -(-len(images) // size)  # of an epoch
    if ranks > 1 and min(size, len(images)) < 2 * ranks:
        raise UserError(
            f"{ranks} processes need 2 images each of a batch, and here are {min(size, len(images))} in all"
        )
    for number in range(training.epoch + 1, (until or training.recipe.epochs) + 1):
        probing = None
        for batch, labels in images.epoch(
            number, batch_size=size, seed=training.seed, skip=training.step, rank=rank, ranks=ranks
        ):
            progress = _progress(training, training.step, steps)
            lr = training.set_lr(schedule(progress))
            count = min(
                size, len(images) - training.step * size
            )  # images in the batch, over all processes
            if probing != (progress < training.recipe.probe):
                probing = progress < training.recipe.probe
                _set_mode(network, probing=probing)
            loss = _step(
                training, network, batch, labels, share=len(labels) / count, probing=probing
            )
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss became {loss} in epoch {number}, step {training.step + 1}, at learning rate {lr:.3g}; "
                    "try a lower lr"
                )
            training.step += 1
            training.loss += loss * count
            training.images += count
            yield Step(number, training.step, steps, count)
        lr = training.set_lr(
            schedule(_progress(training, training.step - 1, steps))
        )  # of the last step
        yield _epoch(training, valid, number, lr)


def _set_mode(network: nn.Module, *, probing: bool) -> None:
    """To learn; layers that do not learn go on normalising as they have learned to."""
    network.train()
    for layer in network.modules():
        if probing and isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def _progress(training: Training, step: int, steps: int) -> float:
    return (training.epoch + step / steps) / training.recipe.epochs


def _step(
    training: Training,
    network: nn.Module,
    batch: Tensor,
    labels: Tensor,
    *,
    share: float,
    probing: bool,
) -> float:
    """One optimiser step on this process's share of a batch; returns the loss of the whole batch.

    probing: only the last layer learns.
    """
    recipe, machine = training.recipe, training.machine
    draw = derive(training.seed, "step", training.epoch + 1, training.step, distributed.rank())
    machine.seed(draw)  # dropout draws from torch's global stream
    batch, targets = Jitter.of(recipe)(
        batch, labels, classes=len(training.model.spec.classes), seed=draw
    )
    with machine.autocast():
        logits = network(batch.to(machine.device)).float()
        if training.teacher is not None:  # it sees the very same pictures (arXiv:2106.05237)
            with torch.no_grad():
                targets = training.teacher.eval()(batch.to(machine.device)).float().softmax(1)
    loss = nn.functional.cross_entropy(
        logits, targets.to(machine.device), label_smoothing=recipe.label_smoothing
    )
    for weight in training.weights:
        weight.grad = None
    head = (
        training.weights[-2:] if probing and distributed.ranks() == 1 else None
    )  # several wait for every gradient
    torch.autograd.backward(
        loss * (share * distributed.ranks()), inputs=head
    )  # averaged over the processes
    if probing:
        for weight in training.weights[:-2]:
            weight.grad = None  # which makes the optimisers pass over it
    for optimiser in training.optimisers:
        optimiser.step()
    if training.average:
        training.average.update_parameters(training.model)
    return distributed.total(loss.item() * share)


def _epoch(training: Training, valid: Samples, number: int, lr: float) -> Epoch:
    """Ends an epoch: judges the model on `valid`, in the first of several processes."""
    train_loss = training.loss / training.images
    judged = (0.0, 0.0)
    if distributed.rank() == 0:
        logits = predict(training.outcome, valid)
        labels = torch.from_numpy(valid.labels.copy())
        judged = (
            nn.functional.cross_entropy(logits, labels).item(),
            (logits.argmax(1) == labels).double().mean().item(),
        )
    valid_loss, valid_top1 = distributed.shared(judged)
    training.epoch, training.step, training.loss, training.images = number, 0, 0.0, 0
    return Epoch(number, train_loss, valid_loss, valid_top1, lr)
