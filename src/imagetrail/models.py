"""Networks by name, from a spec that also rebuilds them: `model.json` beside `model.safetensors`."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imagetrail import activations
from imagetrail.choices import choose
from imagetrail.errors import UserError
from imagetrail.files import replacing, write_json


@dataclass(frozen=True)
class Spec:
    """All it takes to build a network."""

    model: str
    activation: str
    width: float  # factor on the number of channels
    dropout: float  # before the last layer
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]  # per channel of the train split, in units of 0 … 255
    std: tuple[float, ...]


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
        _initialise(self.network, activations.gain(spec.activation))

    def forward(self, images: Tensor) -> Tensor:
        normal = (images.float() - self.mean) / self.std
        logits: Tensor = self.network(normal.permute(0, 3, 1, 2))  # in memory this is channels_last already
        return logits


class GlobalMaxPool(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.amax((2, 3))


def fast(spec: Spec) -> nn.Sequential:
    """Three stages of convolutions that halve the picture; made for accuracy per second on a CPU.

    Pooling comes before normalisation and activation: the same function for a monotonic one, a quarter of the work.
    """
    layers: list[nn.Module] = []
    channels = spec.channels
    for stage, base in enumerate((32, 64, 128)):
        wide = _scaled(base, spec.width)
        layers += [_conv(channels, wide), nn.MaxPool2d(2), nn.BatchNorm2d(wide), activations.build(spec.activation)]
        if stage > 0:
            layers += [_conv(wide, wide), nn.BatchNorm2d(wide), activations.build(spec.activation)]
        channels = wide
    return nn.Sequential(*layers, GlobalMaxPool(), nn.Dropout(spec.dropout), nn.Linear(channels, len(spec.classes)))


def article(spec: Spec) -> nn.Sequential:
    """The network of the article: conv 32, pool, conv 64, pool, dense 64, dense K; no padding, no normalisation."""
    side = ((spec.image_size - 2) // 2 - 2) // 2
    if side < 1:
        raise UserError(f"model 'article' needs image_size 10 or more, not {spec.image_size}: its unpadded layers shrink it")
    first, second, dense = (_scaled(base, spec.width) for base in (32, 64, 64))

    def activation() -> nn.Module:
        return activations.build(spec.activation)

    return nn.Sequential(
        *(nn.Conv2d(spec.channels, first, 3), activation(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3), activation(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(second * side * side, dense), activation()),
        *(nn.Dropout(spec.dropout), nn.Linear(dense, len(spec.classes))),
    )


def mlp(spec: Spec) -> nn.Sequential:
    """One hidden layer on the pixels: what a network without convolutions reaches."""
    pixels, hidden = spec.channels * spec.image_size**2, _scaled(256, spec.width)
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(pixels, hidden), activations.build(spec.activation)),
        *(nn.Dropout(spec.dropout), nn.Linear(hidden, len(spec.classes))),
    )


def linear(spec: Spec) -> nn.Sequential:
    """Logistic regression on the pixels: the floor that every network must beat."""
    return nn.Sequential(nn.Flatten(), nn.Linear(spec.channels * spec.image_size**2, len(spec.classes)))


MODELS: dict[str, Callable[[Spec], nn.Sequential]] = {"article": article, "fast": fast, "linear": linear, "mlp": mlp}


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)


def _conv(into: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1, bias=False)  # batch normalisation follows and has the bias


def _initialise(network: nn.Module, gain: float) -> None:
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        last = layer is layers[-1]
        nn.init.normal_(layer.weight, std=(1.0 if last else gain) / layer.weight[0].numel() ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


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


def save(model: Classifier, folder: Path) -> None:
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    try:
        with replacing(folder / "model.safetensors") as temporary:
            save_file(tensors, temporary)
    except SafetensorError as error:  # a full disk, for one, is no OSError to safetensors
        raise UserError(f"{folder / 'model.safetensors'} cannot be written: {error}") from None
    write_json(folder / "model.json", asdict(model.spec) | {"card": card(model)})


def load(folder: Path) -> Classifier:
    """The model saved in `folder`, ready for prediction."""
    described = json.loads((folder / "model.json").read_text())
    described.pop("card")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in described.items()}
    model = Classifier(Spec(**values))
    model.load_state_dict(load_weights(folder / "model.safetensors"))
    return model.eval()


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a safetensors file; raises UserError if it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `dvc repro` or `dvc checkout`") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); remove it and run `dvc repro` or `dvc checkout`") from None


def load_trunk(model: Classifier, weights: dict[str, Tensor]) -> int:
    """Puts pretrained weights into every layer but the last; returns how many tensors that were."""
    names = list(model.network.state_dict())
    last = names[-1].rsplit(".", 1)[0]
    wanted = {name for name in names if not name.startswith(f"{last}.")}
    trunk = {name: tensor for name, tensor in weights.items() if name in wanted}
    own = model.network.state_dict()
    if trunk.keys() != wanted or any(trunk[name].shape != own[name].shape for name in wanted):
        raise UserError("the pretrained weights are of another model, width or number of channels than the recipe")
    model.network.load_state_dict(trunk, strict=False)
    return len(trunk)
