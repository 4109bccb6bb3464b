"""Every entry of every table keeps what its table promises; a new one is tested by being there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from imagetrail.base.errors import UserError
from imagetrail.models import activations, classifier, weights
from imagetrail.models.activations import ACTIVATIONS
from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import MODELS, Spec
from imagetrail.training import optimisers
from imagetrail.training.optimisers import OPTIMISERS


def spec(
    model: str, *, size: int = 28, channels: int = 1, classes: int = 3, **changes: Any
) -> Spec:
    mean, std = (100.0, 120.0, 90.0)[:channels], (50.0, 60.0, 70.0)[:channels]
    plain = {
        "activation": "relu",
        "width": 1.0,
        "dropout": 0.0,
        "classes": tuple("abcdefghij"[:classes]),
    }
    return Spec(
        model=model, image_size=size, channels=channels, mean=mean, std=std, **(plain | changes)
    )


def images(count: int, *, size: int, channels: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, size, size, channels), generator=rng, dtype=torch.uint8)


# ---- activations ----


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_and_its_slope_are_finite(name: str) -> None:
    points = torch.linspace(-50, 50, 101).requires_grad_()  # 0, where some have a kink, included
    values = activations.build(name)(points)
    values.sum().backward()
    assert values.shape == points.shape and values.isfinite().all()
    assert points.grad is not None and points.grad.isfinite().all() and points.grad.any()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gain_brings_an_activation_of_normal_noise_to_unit_scale(name: str) -> None:
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        values = activations.gain(name) * activations.build(name)(noise)
    scale = values.square().mean() if name in ("relu", "leaky_relu") else values.var()
    assert activations.gain(name) > 0 and scale.item() == pytest.approx(1, rel=0.02)


def test_the_gain_of_relu_is_hes() -> None:
    assert activations.gain("relu") == pytest.approx(2**0.5, rel=1e-6)


# ---- models ----


@pytest.mark.parametrize("size", [10, 28, 33, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_a_logit_a_class_and_survives_saving(
    tmp_path: Path, name: str, channels: int, size: int
) -> None:
    model = Classifier(
        spec(name, size=size, channels=channels, activation="prelu", dropout=0.5)
    )  # prelu has weights
    batch = images(5, size=size, channels=channels)
    model.train()(batch)  # moves the running statistics of batch normalisation
    weights.save(model, tmp_path)
    loaded = weights.load(tmp_path)
    with torch.no_grad():
        logits = model.eval()(batch)
        assert logits.shape == (5, 3) and logits.isfinite().all()
        assert torch.equal(loaded(batch), logits)
    assert loaded.spec == model.spec and not loaded.training
    card = json.loads((tmp_path / "model.json").read_text())["card"]
    assert card == classifier.card(loaded) and card["parameters"] > 0 and card["flops_forward"] > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_model_sees_colour_and_position_and_keeps_its_mode(name: str) -> None:
    model = Classifier(spec(name, size=12, channels=3)).eval()
    batch = images(1, size=12, channels=3)
    with torch.no_grad():
        logits = model(batch)
        assert torch.allclose(model(batch.float()), logits)
        assert not torch.allclose(model(batch.flip(3)), logits)
        assert not torch.allclose(model(batch.flip(2)), logits)
    assert classifier.card(model.train()) and model.training


def test_normalisation_is_part_of_the_model_and_per_channel() -> None:
    model = Classifier(spec("linear", size=8, channels=3)).eval()
    with torch.no_grad():
        for spreads in (0, 1):  # pictures that stand so many standard deviations above the mean
            picture = (model.mean + spreads * model.std).expand(1, 8, 8, 3)
            normal = torch.full((1, 3, 8, 8), float(spreads))
            assert torch.allclose(model(picture), model.head(model.trunk(normal)), atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_new_model_starts_with_logits_of_moderate_scale(name: str) -> None:
    torch.manual_seed(0)
    model = Classifier(spec(name, channels=3, classes=10)).train()
    with torch.no_grad():
        assert 0.1 < model(images(64, size=28, channels=3)).std().item() < 5


def test_the_article_has_the_parameters_of_the_article() -> None:
    assert classifier.card(Classifier(spec("article", classes=10)))["parameters"] == 121_930


def test_flops_of_the_linear_model_are_two_a_weight() -> None:
    assert classifier.card(Classifier(spec("linear", size=8)))["flops_forward"] == 2 * 64 * 3


def test_width_scales_the_network_in_steps_of_eight() -> None:
    assert [
        classifier.card(Classifier(spec("mlp", size=8, width=width)))["parameters"]
        for width in (0.001, 1, 2)
    ] == [(64 + 1) * hidden + (hidden + 1) * 3 for hidden in (8, 256, 512)]


def test_a_picture_too_small_for_the_article_is_refused() -> None:
    with pytest.raises(UserError, match="needs image_size 10 or more, not 8"):
        Classifier(spec("article", size=8))


@pytest.mark.parametrize("name", MODELS)
def test_a_trunk_gives_features_and_the_head_logits_by_one_layer_of_weights(name: str) -> None:
    model, pictures = Classifier(spec(name, classes=5)).eval(), images(4, size=28, channels=1)
    features = model.features(pictures)
    assert features.ndim == 2 and torch.equal(model.head(features), model(pictures))
    assert [weight.shape for weight in model.head.parameters()] == [(5, features.shape[1]), (5,)]
    assert {name.partition(".")[0] for name in model.state_dict()} <= {
        *("mean", "std", "trunk", "head")
    }


@pytest.mark.parametrize("name", [name for name in MODELS if name != "linear"])
def test_a_pretrained_trunk_replaces_the_trunk_and_leaves_the_head(name: str) -> None:
    old, new = Classifier(spec(name, classes=5)), Classifier(spec(name))
    before = {key: value.clone() for key, value in new.head.state_dict().items()}
    count = weights.load_trunk(new, old.state_dict())
    assert count == len(new.trunk.state_dict()) > 0
    for key, value in new.trunk.state_dict().items():
        assert torch.equal(value, old.trunk.state_dict()[key])
    for key, value in new.head.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize(
    "other",
    [spec("mlp"), spec("fast", width=0.5), spec("fast", size=8)],
    ids=["model", "width", "image size"],
)
def test_a_trunk_of_another_shape_is_refused(other: Spec) -> None:
    with pytest.raises(UserError, match="pretrained weights are of another model"):
        weights.load_trunk(Classifier(spec("fast")), weights.trunk_weights(Classifier(other)))


# ---- optimisers ----


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimiser_lowers_a_loss(name: str) -> None:
    torch.manual_seed(0)
    model, pictures = Classifier(spec("mlp", size=8, classes=2)), images(64, size=8, channels=1)
    labels = (pictures[:, 0, 0, 0] > 127).long()
    built = OPTIMISERS[name](model, 0.01, 0.01, 1.0)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(pictures), labels)
        model.zero_grad()
        loss.backward()
        for optimiser in built:
            optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("name", OPTIMISERS)
def test_weights_decay_but_biases_and_normalisation_do_not(name: str) -> None:
    model = Classifier(spec("fast", size=8, activation="prelu"))
    model.to(memory_format=torch.channels_last)  # as in a training
    before = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    for optimiser in OPTIMISERS[name](model, 0.1, 0.1, 1.0):
        optimiser.step()
    for key, weight in model.named_parameters():
        if weight.ndim > 1:
            assert (weight.abs() < before[key].abs()).all()
        else:
            assert torch.equal(weight, before[key])


def test_the_learning_rate_rises_to_its_peak_at_a_quarter_and_falls_to_nothing() -> None:
    assert [
        optimisers.one_cycle(progress) for progress in (0, 0.125, 0.25, 0.625, 1)
    ] == pytest.approx([0.04, 0.52, 1, 0.5, 0])
