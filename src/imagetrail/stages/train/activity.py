"""What the activations of a network do to its signals: why one trains well and another does not."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imagetrail.models.activations import ACTIVATIONS
from imagetrail.models.classifier import Classifier

FLAT = 0.01  # a slope below this lets next to no gradient through


@dataclass(frozen=True)
class Activity:
    """One activation layer on some images; shares are 0 … 1."""

    layer: str
    units: int  # channels
    dead: float  # share of units whose slope is flat wherever they look: they learn no more
    saturated: float  # share of all values at which the slope is flat
    gradient: float  # of the loss by what goes in, over that by the logits: root mean squares


def activity(model: Classifier, images: Tensor, labels: Tensor) -> list[Activity]:
    """How the activations answer, first layer first. images: n×H×W×C uint8, labels: n int64."""
    kinds = tuple({type(build()) for build in ACTIVATIONS.values()})
    layers = {
        name: layer for name, layer in model.trunk.named_modules() if isinstance(layer, kinds)
    }
    seen: dict[str, Tensor] = {}

    def catch(name: str) -> object:
        def hook(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
            seen[name] = inputs[0]
            inputs[0].retain_grad()
            return inputs[0]

        return hook

    hooks = [layer.register_forward_pre_hook(catch(name)) for name, layer in layers.items()]  # type: ignore[arg-type]
    held = [weight for weight in model.parameters() if not weight.requires_grad]
    model.requires_grad_()
    logits = model.eval()(images)
    logits.retain_grad()
    torch.autograd.backward(nn.functional.cross_entropy(logits, labels))
    for hook in hooks:
        hook.remove()
    found = [_measure(name, layers[name], into, _rms(logits.grad)) for name, into in seen.items()]
    model.zero_grad()
    for weight in held:
        weight.requires_grad = False
    return found


def _measure(name: str, layer: nn.Module, into: Tensor, scale: float) -> Activity:
    at = into.detach().requires_grad_()
    slope = torch.autograd.grad(layer(at).sum(), at)[0]
    flat = slope.abs() < FLAT
    units = 1 if flat.ndim != 3 else 2  # of tokens they come last
    by_unit = flat.transpose(0, units).flatten(1)  # units × all that they saw
    return Activity(
        layer=name,
        units=len(by_unit),
        dead=by_unit.all(1).double().mean().item(),
        saturated=flat.double().mean().item(),
        gradient=_rms(into.grad) / scale if scale else 0.0,  # no loss at all: no gradient
    )


def _rms(values: Tensor | None) -> float:
    assert values is not None, "every layer takes part in the loss"
    return values.double().square().mean().sqrt().item()
