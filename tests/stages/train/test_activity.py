from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imagetrail.models.activations import ACTIVATIONS
from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import Spec
from imagetrail.stages.train.activity import activity

PLAIN = {
    "model": "fast",
    "activation": "relu",
    "width": 0.25,
    "dropout": 0.5,
    "classes": tuple("abc"),
    "image_size": 12,
}


def build(**changes: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Spec(**(PLAIN | {"channels": 1, "mean": (128.0,), "std": (74.0,)} | changes)))


def batch(count: int = 32) -> tuple[Tensor, Tensor]:
    images = torch.randint(
        0, 256, (count, 12, 12, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    return images, torch.arange(count) % 3


def first(model: Classifier, kind: type) -> Any:
    return next(layer for layer in model.trunk.modules() if isinstance(layer, kind))


def kill(weight: Tensor, units: slice) -> None:
    """Makes a relu's inputs negative whatever comes in: `weight` is the bias before it."""
    with torch.no_grad():
        weight[units] = -1e4


@pytest.mark.parametrize(
    ("model", "kind"), [("mlp", nn.Linear), ("fast", nn.BatchNorm2d), ("article", nn.Conv2d)]
)
def test_a_layer_that_never_answers_is_dead_and_saturated_and_lets_no_gradient_through(
    model: str, kind: type
) -> None:
    broken = build(model=model)
    kill(first(broken, kind).bias, slice(None))
    layer = activity(broken, *batch())[0]
    assert (layer.dead, layer.saturated, layer.gradient) == (1.0, 1.0, 0.0)


def test_the_dead_share_counts_units() -> None:
    broken = build(model="mlp")
    kill(first(broken, nn.Linear).bias, slice(16))
    (layer,) = activity(broken, *batch())
    assert layer.units == 64 and layer.dead == 0.25
    assert 0.25 < layer.saturated < 0.8 and layer.gradient > 0


def test_a_unit_that_answers_one_image_is_not_dead() -> None:
    model, (images, labels) = build(model="mlp"), batch()
    dense = first(model, nn.Linear)
    with torch.no_grad():
        dense.weight.zero_()
        dense.weight[:, 0] = 1.0
        dense.bias.fill_(-0.5)
    images[:, 0, 0], images[5, 0, 0] = 0, 255  # their first pixel alone counts
    (layer,) = activity(model, images, labels)
    assert layer.dead == 0.0 and layer.saturated == pytest.approx(31 / 32)


@pytest.mark.parametrize("model", ["mlp", "fast", "resnet"])
def test_a_fresh_relu_network_has_few_dead_units(model: str) -> None:
    found = activity(build(model=model, width=1.0), *batch(64))
    assert all(
        layer.dead < 0.1 and layer.saturated < 0.6 and layer.gradient > 0.01 for layer in found
    )


def test_half_of_what_a_fresh_relu_sees_is_flat() -> None:
    (layer,) = activity(build(model="mlp", width=1.0), *batch())
    assert layer.saturated == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("scale", "least", "most"), [(1000, 0.98, 1), (0.1, 0, 0.01)])
def test_a_sigmoid_is_saturated_by_huge_inputs_only(
    scale: float, least: float, most: float
) -> None:
    model = build(model="mlp", activation="sigmoid")
    with torch.no_grad():
        first(model, nn.Linear).weight *= scale
    (layer,) = activity(model, *batch())
    assert least <= layer.saturated <= most


def test_the_gradient_is_that_before_the_activation_over_that_of_the_logits() -> None:
    model, (images, labels) = build(model="mlp", dropout=0.0), batch()
    (_, dense, relu), (_, last) = model.trunk, model.head
    before = dense(((images.float() - 128) / 74).flatten(1))
    by_logits = last(relu(before)).softmax(1) - nn.functional.one_hot(
        labels, 3
    )  # by hand, but for a common factor
    by_input = by_logits @ last.weight * (before > 0)
    (layer,) = activity(model, images, labels)
    assert layer.gradient == pytest.approx(
        (by_input.square().mean() / by_logits.square().mean()).sqrt().item(), rel=1e-4
    )


@pytest.mark.parametrize(
    ("model", "units"),
    [("article", [8, 16, 16]), ("fast", [8, 16, 16]), ("resnet", [8, 8, 8, 8, 8, 8, 16, 16, 16])],
)
def test_every_activation_is_listed_first_layer_first(model: str, units: list[int]) -> None:
    built = build(model=model)
    found = activity(built, *batch())
    assert [layer.units for layer in found] == units
    assert [layer.layer for layer in found] == [
        name for name, at in built.trunk.named_modules() if type(at) is nn.ReLU
    ]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_known_and_alive_at_first(name: str) -> None:
    found = activity(build(activation=name), *batch())
    assert len(found) == 3 and all(layer.dead < 0.2 and layer.gradient > 0 for layer in found)


def test_a_linear_model_has_no_activations() -> None:
    assert activity(build(model="linear"), *batch()) == []


@pytest.mark.parametrize("name", ["fast", "resnet"])
def test_the_model_is_left_as_it_was(name: str) -> None:
    model = build(model=name, activation="prelu")
    model(batch()[0])  # its normalisation has seen something
    before = {key: value.clone() for key, value in model.state_dict().items()}
    once = activity(model, *batch())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert not any(layer._forward_pre_hooks for layer in model.modules())
    assert activity(model, *batch()) == once


def test_layers_that_training_holds_are_looked_at_and_still_held() -> None:
    model = build()
    once, held = activity(model, *batch()), list(model.parameters())[:4]
    for weight in held:
        weight.requires_grad = False
    assert activity(model, *batch()) == once
    assert [weight.requires_grad for weight in model.parameters()][:5] == [False] * 4 + [True]


def test_training_goes_on_as_if_nobody_had_looked() -> None:
    def trained(*, looked_at: bool) -> list[Tensor]:
        model, (images, labels) = build(), batch()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            if looked_at:
                activity(model, images, labels)
            torch.manual_seed(3)
            torch.autograd.backward(nn.functional.cross_entropy(model.train()(images), labels))
            sgd.step()
            sgd.zero_grad()
        return list(model.state_dict().values())

    assert all(
        torch.equal(one, other)
        for one, other in zip(trained(looked_at=True), trained(looked_at=False), strict=True)
    )
