"""Networks by name, from a spec that also rebuilds them: `model.json` beside `model.safetensors`."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imagetrail.base.lookup import choose
from imagetrail.models import activations
from imagetrail.models.networks import MODELS, Spec


class Classifier(nn.Module):
    """N×H×W×C images, uint8 or float in 0 … 255, to N×K logits; normalisation is part of it."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.tensor(spec.mean))
        self.register_buffer("std", torch.tensor(spec.std))
        self.network = choose(MODELS, spec.model, "model")(spec)
        choose(INITIALISATIONS, spec.initialisation, "initialisation")(self.network, spec)

    def forward(self, images: Tensor) -> Tensor:
        normal = (images.float() - self.mean) / self.std
        logits: Tensor = self.network(
            normal.permute(0, 3, 1, 2)
        )  # in memory this is channels_last already
        return logits


def by_gain(network: nn.Sequential, spec: Spec) -> None:
    """Normal weights scaled to the activation, so that none loses by a wrong start (arXiv:1502.01852)."""
    layers = _layers(network)
    gain = activations.gain(spec.activation)
    for layer in layers:
        nn.init.normal_(
            layer.weight,
            std=(1.0 if layer is layers[-1] else gain) / layer.weight[0].numel() ** 0.5,
        )


def glorot(network: nn.Sequential, _: Spec) -> None:
    """Uniform weights by fan-in and fan-out, as Keras has it by default (Glorot and Bengio, 2010)."""
    for layer in _layers(network):
        nn.init.xavier_uniform_(layer.weight)


INITIALISATIONS: dict[str, Callable[[nn.Sequential, Spec], None]] = {
    "gain": by_gain,
    "glorot": glorot,
}


def _layers(network: nn.Sequential) -> list[nn.Conv2d | nn.Linear]:
    """The layers with weights, their biases set to zero."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers


def card(model: Classifier) -> dict[str, int]:
    """Its parameters, and the floating-point operations of one picture's forward pass."""
    spec = model.spec
    device = next(model.parameters()).device
    picture = torch.zeros(1, spec.image_size, spec.image_size, spec.channels, device=device)
    was_training = model.training
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(picture)
    model.train(was_training)
    parameters = sum(weight.numel() for weight in model.parameters())
    return {"parameters": parameters, "flops_forward": counter.get_total_flops()}
