"""A network by name with its normalisation, from a spec that also rebuilds it: `model.json`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from imagetrail.base.lookup import choose
from imagetrail.models import activations, depthwise
from imagetrail.models.networks import Spec, build


class Classifier(nn.Module):
    """N×H×W×C images, uint8 or float in 0 … 255, to N×K logits; normalisation is part of it.

    The trunk makes features of a picture, the head makes logits of features. What is learned on
    other pictures is the trunk; the head is of these classes alone.
    """

    mean: Tensor
    std: Tensor
    trunk: nn.Module
    head: nn.Module

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(spec.mean))
        self.register_buffer("std", torch.tensor(spec.std))
        self.trunk, self.head = build(spec)
        depthwise.quicken(self.trunk)
        choose(INITIALISATIONS, spec.initialisation, "initialisation")(self)

    def features(self, images: Tensor) -> Tensor:
        """What the head sees: N×D."""
        features: Tensor = self.trunk(self.normal(images))
        return features

    def normal(self, images: Tensor) -> Tensor:
        """What the trunk sees: N×C×H×W, channels last in memory already."""
        return self.enlarged(((images.float() - self.mean) / self.std).permute(0, 3, 1, 2))

    def enlarged(self, images: Tensor) -> Tensor:
        """N×C×H×W of any unit, of the sides that the trunk sees."""
        factor = self.spec.factor
        if factor == 1:
            return images
        return functional.interpolate(images, scale_factor=factor, mode="bilinear")

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


def by_gain(model: Classifier) -> None:
    """Normal weights scaled to the activation, so that none loses by a wrong start.

    This is He's initialisation (arXiv:1502.01852) for any activation; none follows the head.
    """
    gain = activations.gain(model.spec.nonlinearity)
    for part in _own(model):
        scale = gain if part is model.trunk else 1.0
        for layer in _layers(part):
            nn.init.normal_(layer.weight, std=scale / layer.weight[0].numel() ** 0.5)


def glorot(model: Classifier) -> None:
    """Uniform weights by fan-in and fan-out (Glorot and Bengio, 2010), the default of Keras."""
    for part in _own(model):
        for layer in _layers(part):
            nn.init.xavier_uniform_(layer.weight)


def identity(model: Classifier) -> None:
    """By gain, save that a convolution's first channels pass on what came in (arXiv:2404.00498).

    It is for plain stacks of convolutions, through which pictures are then seen from the start.
    """
    by_gain(model)
    for layer in model.trunk.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == 1:
            nn.init.dirac_(layer.weight.data[: layer.in_channels])


INITIALISATIONS: dict[str, Callable[[Classifier], None]] = {
    "gain": by_gain,
    "glorot": glorot,
    "identity": identity,
}


def _own(model: Classifier) -> list[nn.Module]:
    """Its trunk, save one of the hub, which its library has initialised, and its head."""
    return [model.head] if model.spec.architecture else [model.trunk, model.head]


def _layers(part: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The layers with weights, their biases set to zero."""
    layers = [layer for layer in part.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers


def card(model: Classifier) -> dict[str, int]:
    """Its parameters, and the floating-point operations of one picture's forward pass."""
    spec = model.spec
    device = next(model.parameters()).device
    picture = torch.zeros(1, *spec.shape, device=device)
    was_training = model.training
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(picture)
    model.train(was_training)
    parameters = sum(weight.numel() for weight in model.parameters())
    return {"parameters": parameters, "flops_forward": counter.get_total_flops()}
