"""Training as a generator of epochs: it computes and yields; who consumes it logs, prunes or stops."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from imagetrail import optimisers
from imagetrail.activations import ACTIVATIONS
from imagetrail.batches import Mixture, channel_statistics, jitter
from imagetrail.choices import one_of
from imagetrail.errors import UserError
from imagetrail.machine import this_machine
from imagetrail.models import MODELS, Classifier, Spec, load_trunk
from imagetrail.params import Section
from imagetrail.rng import derive
from imagetrail.samples import Samples


class Recipe(Section):
    """How a model is built and trained: every hyper-parameter, once."""

    model: Annotated[str, one_of(MODELS, "model")]
    activation: Annotated[str, one_of(ACTIVATIONS, "activation")]
    width: float = Field(default=1.0, gt=0, le=16)  # factor on the number of channels
    dropout: float = Field(default=0.0, ge=0, lt=1)  # before the last layer
    epochs: int = Field(ge=1)
    batch_size: int = Field(default=256, ge=2)
    optimiser: Annotated[str, one_of(optimisers.OPTIMISERS, "optimiser")] = "adamw"
    lr: float = Field(gt=0)  # peak of the one-cycle schedule, per 256 images; scales with the batch
    weight_decay: float = Field(default=0.0, ge=0)  # as the optimiser has it: decoupled, times lr, for adamw; L2 for sgd
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    flip: bool = False  # mirror half of the images; harms where left and right differ, as for digits
    shift: int = Field(default=0, ge=0)  # pixels, each way
    repeat_to: int = Field(default=0, ge=0)  # an epoch has at least so many images: a smaller set is repeated
    augmented: float = Field(default=0.0, ge=0, le=1)  # share of an epoch taken from data/augmented
    synthetic: float = Field(default=0.0, ge=0, le=1)  # share of an epoch taken from data/synthetic


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

    def __init__(self, recipe: Recipe, spec: Spec, *, seed: int) -> None:
        self.recipe, self.seed = recipe, seed
        self.machine = this_machine()
        torch.manual_seed(derive(seed, "init"))
        self.model = Classifier(spec).to(self.machine.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        decay = optimisers.groups(self.model, recipe.weight_decay)
        self.optimiser = optimisers.OPTIMISERS[recipe.optimiser](decay, recipe.lr)
        self.epoch = 0  # epochs done


def start(recipe: Recipe, train: Samples, *, seed: int, pretrained: dict[str, Tensor] | None = None) -> Training:
    """A training about to begin, for the pictures of `train`."""
    mean, std = channel_statistics(train)
    _, size, _, channels = train.images.shape
    spec = Spec(recipe.model, recipe.activation, recipe.width, recipe.dropout, train.classes, size, channels, mean, std)
    training = Training(recipe, spec, seed=seed)
    if pretrained:
        load_trunk(training.model, pretrained)
    return training


def mixture(recipe: Recipe, train: Samples, augmented: Samples, synthetic: Samples, *, limit: int | None = None) -> Mixture:
    """The images of an epoch, by the shares in `recipe`."""
    if recipe.augmented + recipe.synthetic > 1:
        raise UserError(f"recipe.augmented + recipe.synthetic is {recipe.augmented + recipe.synthetic:g}; at most 1")
    for share, samples, stage in ((recipe.augmented, augmented, "augment"), (recipe.synthetic, synthetic, "synthesise")):
        if share and not len(samples):
            raise UserError(f"the recipe takes a share of {share:g} from stage {stage}, which made no images")
    others = ((augmented, recipe.augmented), (synthetic, recipe.synthetic))
    return Mixture(train, others, limit, recipe.repeat_to)


def fit(training: Training, images: Mixture, valid: Samples, *, until: int | None = None) -> Iterator[Epoch]:
    """Trains from where `training` stands to the recipe's last epoch, or to epoch `until`; yields after each one.

    Every random draw depends on (seed, epoch, step) alone, so a training restored at an epoch goes on exactly.
    Raises Diverged if the loss becomes infinite or not a number.
    """
    for number in range(training.epoch + 1, (until or training.recipe.epochs) + 1):
        train_loss, lr = _train_epoch(training, images, number)
        logits = predict(training.model, valid)
        labels = torch.from_numpy(valid.labels.copy())
        training.epoch = number
        yield Epoch(
            number,
            train_loss,
            valid_loss=nn.functional.cross_entropy(logits, labels).item(),
            valid_top1=(logits.argmax(1) == labels).double().mean().item(),
            lr=lr,
        )


def _train_epoch(training: Training, images: Mixture, number: int) -> tuple[float, float]:
    recipe, machine, model = training.recipe, training.machine, training.model.train()
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    per_epoch = -(-len(images) // recipe.batch_size)
    total, count, lr = 0.0, 0, 0.0
    for step, (batch, labels) in enumerate(images.epoch(number, batch_size=recipe.batch_size, seed=training.seed)):
        draw = derive(training.seed, "step", number, step)
        torch.manual_seed(draw)  # dropout draws from torch's global stream
        progress = (number - 1 + step / per_epoch) / recipe.epochs
        lr = recipe.lr * recipe.batch_size / 256 * optimisers.one_cycle(progress)
        for group in training.optimiser.param_groups:
            group["lr"] = lr
        batch = jitter(batch, flip=recipe.flip, shift=recipe.shift, seed=draw).to(machine.device)
        with machine.autocast():
            loss = loss_of(model(batch).float(), labels.to(machine.device))
        training.optimiser.zero_grad()
        loss.backward()
        training.optimiser.step()
        value = loss.item()
        if not math.isfinite(value):
            raise Diverged(
                f"the loss became {value} in epoch {number}, step {step + 1}, at learning rate {lr:.3g}; try a lower lr"
            )
        total, count = total + value * len(labels), count + len(labels)
    return total / count, lr


@torch.no_grad()
def predict(model: Classifier, samples: Samples, *, batch_size: int = 1000, exact: bool = False) -> Tensor:
    """Logits N×K float32 on the CPU, with the precision that training has, or if `exact` with that of the exported model."""
    machine = this_machine()
    model = model.to(machine.device).eval()
    logits = []
    for chunk in samples.chunks(batch_size):
        with nullcontext() if exact else machine.autocast():
            logits.append(model(torch.from_numpy(chunk.copy()).to(machine.device)).float().cpu())
    return torch.cat(logits)
