"""Networks by name, from a spec that also rebuilds them: `model.json` beside `model.safetensors`."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing, write_json
from imagetrail.base.lookup import choose
from imagetrail.models import activations, efficientnet
from imagetrail.models.layers import Crop, Flatten, Residual, scaled


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
    initialisation: str = "gain"


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
        logits: Tensor = self.network(normal.permute(0, 3, 1, 2))  # in memory this is channels_last already
        return logits


def fast(spec: Spec) -> nn.Sequential:
    """Stages that halve the picture, made for accuracy per second on a CPU.

    Pooling comes before normalisation and activation: the same function for a monotonic one, a quarter of the work.
    """
    layers: list[nn.Module] = []
    channels = spec.channels
    for stage, wide in enumerate(_widths(spec)):
        layers += _halving(channels, wide, spec)
        if stage > 0:
            layers += _block(wide, wide, spec)
        channels = wide
    return nn.Sequential(*layers, *_head(channels, spec))


def resnet(spec: Spec) -> nn.Sequential:
    """The same stages and one at full size, with a residual block in each: made for accuracy."""
    channels = scaled(16, spec.width)
    layers = [*_block(spec.channels, channels, spec), _residual(channels, spec)]
    for wide in _widths(spec):
        layers += [*_halving(channels, wide, spec), _residual(wide, spec)]
        channels = wide
    return nn.Sequential(*layers, *_head(channels, spec))


def _widths(spec: Spec) -> list[int]:
    """The channels of each stage: as many stages as halve the picture to 4×4 or less, and two at least."""
    stages = max(2, math.ceil(math.log2(spec.image_size / 4)))
    return [scaled(min(32 * 2**stage, 256), spec.width) for stage in range(stages)]


def _halving(into: int, out: int, spec: Spec) -> list[nn.Module]:
    return [_conv(into, out), nn.MaxPool2d(2), nn.BatchNorm2d(out), activations.build(spec.activation)]


def _block(into: int, out: int, spec: Spec) -> list[nn.Module]:
    return [_conv(into, out), nn.BatchNorm2d(out), activations.build(spec.activation)]


def _residual(channels: int, spec: Spec) -> Residual:
    return Residual(*_block(channels, channels, spec), *_block(channels, channels, spec))


def _head(channels: int, spec: Spec) -> list[nn.Module]:
    side = spec.image_size >> len(_widths(spec))
    return [Flatten(), nn.Dropout(spec.dropout), nn.Linear(channels * side**2, len(spec.classes))]


def article(spec: Spec) -> nn.Sequential:
    """The network of the article: conv 32, pool, conv 64, pool, dense 64, dense K; no padding, no normalisation.

    Pooling drops an odd last row and column; pixels that only they see are left out: the same answers for a sixth less.
    """
    side = ((spec.image_size - 2) // 2 - 2) // 2
    if side < 1:
        raise UserError(f"model 'article' needs image_size 10 or more, not {spec.image_size}: its unpadded layers shrink it")
    first, second, dense = (scaled(base, spec.width) for base in (32, 64, 64))
    seen = (2 * side + 2) * 2 + 2

    def pooled() -> list[nn.Module]:
        """Activation and pooling, the cheaper order where both are the same function."""
        layers = [nn.MaxPool2d(2), activations.build(spec.activation)]
        return layers[::-1] if spec.activation in activations.NOT_MONOTONIC else layers

    return nn.Sequential(
        *(Crop(seen), nn.Conv2d(spec.channels, first, 3), *pooled()),
        *(nn.Conv2d(first, second, 3), *pooled()),
        *(Flatten(), nn.Linear(second * side * side, dense), activations.build(spec.activation)),
        *(nn.Dropout(spec.dropout), nn.Linear(dense, len(spec.classes))),
    )


def mlp(spec: Spec) -> nn.Sequential:
    """One hidden layer on the pixels: what a network without convolutions reaches."""
    pixels, hidden = spec.channels * spec.image_size**2, scaled(256, spec.width)
    return nn.Sequential(
        *(Flatten(), nn.Linear(pixels, hidden), activations.build(spec.activation)),
        *(nn.Dropout(spec.dropout), nn.Linear(hidden, len(spec.classes))),
    )


def linear(spec: Spec) -> nn.Sequential:
    """Logistic regression on the pixels: the floor that every network must beat."""
    return nn.Sequential(Flatten(), nn.Linear(spec.channels * spec.image_size**2, len(spec.classes)))


def efficientnet_lite0(spec: Spec) -> nn.Sequential:
    """A network for photos, with weights learned on ImageNet to begin with: see `pretrain.weights`."""
    return efficientnet.lite0(
        size=spec.image_size,
        mean=spec.mean,
        std=spec.std,
        classes=len(spec.classes),
        activation=spec.activation,
        width=spec.width,
        dropout=spec.dropout,
    )


MODELS: dict[str, Callable[[Spec], nn.Sequential]] = {
    "article": article,
    "efficientnet_lite0": efficientnet_lite0,
    "fast": fast,
    "linear": linear,
    "mlp": mlp,
    "resnet": resnet,
}


def _conv(into: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1, bias=False)  # batch normalisation follows and has the bias


def by_gain(network: nn.Sequential, spec: Spec) -> None:
    """Normal weights scaled to the activation, so that none loses by a wrong start (arXiv:1502.01852)."""
    layers = _layers(network)
    gain = activations.gain(spec.activation)
    for layer in layers:
        nn.init.normal_(layer.weight, std=(1.0 if layer is layers[-1] else gain) / layer.weight[0].numel() ** 0.5)


def glorot(network: nn.Sequential, _: Spec) -> None:
    """Uniform weights by fan-in and fan-out, as Keras has it by default (Glorot and Bengio, 2010)."""
    for layer in _layers(network):
        nn.init.xavier_uniform_(layer.weight)


INITIALISATIONS: dict[str, Callable[[nn.Sequential, Spec], None]] = {"gain": by_gain, "glorot": glorot}


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


def save(model: Classifier, folder: Path) -> None:
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors))
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
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `dvc repro` or `dvc checkout`") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); remove it and run `dvc repro` or `dvc checkout`") from None


def load_trunk(model: Classifier, weights: dict[str, Tensor]) -> int:
    """Puts pretrained weights into every layer but the last; returns how many tensors that were.

    A first layer of grey pictures takes the weights of one of colour, and the other way round: to a grey picture it
    answers the same. Raises UserError if anything else differs.
    """
    own = model.network.state_dict()
    last = list(own)[-1].split(".")[0]
    wanted = {name: tensor for name, tensor in own.items() if not name.startswith(f"{last}.")}
    trunk = {name: _colour(weights[name], tensor) for name, tensor in wanted.items() if name in weights}
    for name, tensor in wanted.items():
        if name not in trunk or trunk[name].shape != tensor.shape:
            there = f"{list(trunk[name].shape)} there and {list(tensor.shape)} here" if name in trunk else "not there"
            raise UserError(
                f"the pretrained weights are of another model, width or image size than the recipe's {model.spec.model}: "
                f"{name} is {there}"
            )
    model.network.load_state_dict(trunk, strict=False)
    return len(trunk)


def _colour(kernel: Tensor, own: Tensor) -> Tensor:
    """The kernel O×I×H×W of a convolution for 1 or 3 channels, for as many as its counterpart has."""
    if kernel.ndim != 4 or own.ndim != 4 or {kernel.shape[1], own.shape[1]} != {1, 3}:
        return kernel
    return kernel.sum(1, keepdim=True) if own.shape[1] == 1 else kernel.expand(-1, 3, -1, -1) / 3
