"""The state that training moves on, and that a checkpoint holds."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from imagetrail.base.rng import derive
from imagetrail.compute.device import this_machine
from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import Spec
from imagetrail.models.weights import load_trunk
from imagetrail.training import optimisers
from imagetrail.training.recipe import Recipe

STILL = 0.01  # of the head's rate: what would learn slower stays as it came


class Training:
    """A model with its optimisers, its average and its place in the recipe's epochs."""

    def __init__(
        self, recipe: Recipe, spec: Spec, *, seed: int, pretrained: dict[str, Tensor] | None = None
    ) -> None:
        if pretrained and not recipe.fine_tune:  # a head that is solved takes no steps
            recipe = recipe.model_copy(update={"ema": 0.0, "blend": 1.0})
        if not pretrained:  # nothing is learned already that these would spare
            recipe = recipe.model_copy(update={"fine_tune": True, "layer_decay": 1.0, "blend": 1.0})
        self.recipe, self.seed, self.pretrained = recipe, seed, bool(pretrained)
        self.machine = this_machine()
        torch.manual_seed(derive(seed, "init"))
        self.model = Classifier(spec).to(self.machine.device)
        if pretrained:
            load_trunk(self.model, pretrained)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.optimisers = optimisers.OPTIMISERS[recipe.optimiser](
            self.model, recipe.lr, recipe.weight_decay, recipe.batch_size / 256, recipe.layer_decay
        )
        for group in self._groups():
            group["peak"] = group["lr"]
        if pretrained:
            _hold(self.model, recipe.layer_decay)
        self.teacher: Classifier | None = None  # its probabilities replace the labels
        self.shares: Tensor | None = None  # of classes, that logit adjustment takes account of
        self.average: AveragedModel | None = None
        if recipe.ema:
            average = _average(recipe.ema)
            self.average = AveragedModel(self.model, multi_avg_fn=average, use_buffers=True)
        # where all layers began, the head once it is solved
        self.origin = copy.deepcopy(self.model) if recipe.blend != 1 else None
        self.blend = 1.0 if recipe.blend is None else recipe.blend  # None: chosen at each epoch
        self.epoch = 0  # epochs done
        self.step = 0  # steps done in the epoch that has begun
        self.loss, self.images = 0.0, 0  # their sum of losses, and how many images that was

    def begin(self) -> None:
        """All layers learn from here on."""
        if self.origin is not None:
            self.origin.load_state_dict(self.model.state_dict())

    @property
    def outcome(self) -> Classifier:
        """The model that training would give if it ended now."""
        return self.at(self.blend)

    def at(self, share: float) -> Classifier:
        """The model at a share of the way from where all layers began to where they are."""
        end = self.average.module if self.average else self.model
        assert isinstance(end, Classifier)
        return end if self.origin is None else _between(self.origin, end, share)

    def set_lr(self, factor: float) -> float:
        """Sets every learning rate to `factor` of its peak; returns the largest."""
        for group in self._groups():
            group["lr"] = group["peak"] * factor
        return max(float(group["lr"]) for group in self._groups())

    def _groups(self) -> list[dict[str, float]]:
        return [group for optimiser in self.optimisers for group in optimiser.param_groups]


def _hold(model: Classifier, layer_decay: float) -> None:
    """Spares the gradients of layers that would hardly move: half the time of a step, or more."""
    for rate, layer in optimisers.by_rate(model, layer_decay):
        for weight in layer:
            weight.requires_grad_(rate >= STILL)


@torch.no_grad()
def _between(origin: Classifier, end: Classifier, share: float) -> Classifier:
    """A share of the way from one to the other.

    Where the way is short, what lies on it is often better than both ends (arXiv:2109.01903).
    """
    model, begun = copy.deepcopy(end), origin.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.lerp(begun[name], value, share))
    return model


Tensors = list[Tensor] | tuple[Tensor, ...]


def _average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """An exponential moving average; at first, when weights still move fast, it follows closely."""

    def update(averages: Tensors, weights: Tensors, count: Tensor | int) -> None:
        if averages[0].is_floating_point():
            share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
            torch._foreach_lerp_(averages, weights, share)
        else:
            torch._foreach_copy_(averages, weights)

    return update
