from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from article import SPEC
from torch import nn
from torch.nn import functional

from imagetrail.base.errors import UserError
from imagetrail.models import activations, classifier, efficientnet, weights
from imagetrail.models.activations import ACTIVATIONS
from imagetrail.models.classifier import INITIALISATIONS, Classifier
from imagetrail.models.networks import MODELS
from imagetrail.training.recipe import LEAST_LITE, LEAST_SIDE

KERAS = Path(__file__).parent / "keras_article.npz"


def test_the_article_network_answers_as_keras_does() -> None:
    kept = np.load(KERAS, allow_pickle=False)
    model = Classifier(SPEC).eval()
    assert classifier.card(model)["parameters"] == 121_930
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            keras = torch.from_numpy(kept[f"weight_{number}"]).float()
            weight.copy_(
                keras.permute(*{1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[keras.ndim])
            )  # Keras: H×W×I×O and I×O
        answers = model(torch.from_numpy(kept["images"])).softmax(1)
    assert np.abs(answers.numpy() - kept["probabilities"]).max() < 1e-5
    assert kept["probabilities"].std() > 0.01, "the fixture tells images apart"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_article_network_pools_what_the_activation_gives(name: str) -> None:
    """Pooling comes first, which is cheaper, only where it is the same function."""
    model = Classifier(replace(SPEC, activation=name)).eval()
    conv, activation, pool = model.trunk[1], activations.build(name), nn.MaxPool2d(2)
    images = 10 * torch.randn(4, 1, 28, 28)
    with torch.no_grad():
        pooled = pool(activation(conv(images)))[:, :, :12, :12]
        assert torch.allclose(model.trunk[:4](images), pooled, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 33, 64, 224])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_every_size_and_colour(name: str, size: int, channels: int) -> None:
    spec = replace(
        SPEC,
        model=name,
        image_size=size,
        channels=channels,
        mean=(9.0,) * channels,
        std=(5.0,) * channels,
    )
    if size < LEAST_SIDE.get(name, 1):
        with pytest.raises(UserError, match="needs image_size 10 or more, not 8"):
            Classifier(spec)
        return
    model = Classifier(replace(spec, width=0.25))
    logits = model(torch.randint(0, 256, (2, size, size, channels), dtype=torch.uint8))
    assert logits.shape == (2, 10) and logits.isfinite().all()
    wider = Classifier(spec)
    assert (
        name == "linear"
        or classifier.card(wider)["parameters"] > classifier.card(model)["parameters"]
    )


@pytest.mark.parametrize("sides", [(8, 512), (40, 24), (11, 100)])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_pictures_that_are_not_square(name: str, sides: tuple[int, int]) -> None:
    spec = replace(SPEC, model=name, image_size=sides, width=0.25)
    if min(sides) < LEAST_SIDE.get(name, 1):
        with pytest.raises(UserError, match="needs image_size 10 or more, not 8"):
            Classifier(spec)
        return
    model = Classifier(spec).eval()
    images = torch.randint(0, 256, (2, *sides, 1), dtype=torch.uint8)
    logits = model(images)
    assert logits.shape == (2, 10) and logits.isfinite().all()


@pytest.mark.parametrize(
    ("image_size", "factor"),
    [(8, 28), (28, 8), ((32, 48), 6), ((8, 512), 5), (64, 4), (150, 1), (500, 1)],
)
def test_efficientnet_sees_small_pictures_near_the_size_that_it_was_learned_on(
    image_size: int | tuple[int, int], factor: int
) -> None:
    spec = replace(SPEC, model="efficientnet_lite0", image_size=image_size)
    height, width, _ = spec.shape
    assert spec.factor == factor and spec.sides == (height * factor, width * factor)
    assert replace(spec, model="efficientnet_lite2", image_size=28).factor == 9
    assert replace(spec, model="fast").factor == 1 and replace(spec, enlarge=3).factor == 3


@pytest.mark.parametrize("name", MODELS)
def test_a_network_that_enlarges_answers_as_one_of_larger_pictures(name: str) -> None:
    images = torch.randint(0, 256, (2, 16, 20, 1), dtype=torch.uint8)
    larger = functional.interpolate(images.permute(0, 3, 1, 2).float(), (48, 60), mode="bilinear")
    spec = replace(SPEC, model=name, width=0.25)
    itself = Classifier(replace(spec, image_size=(16, 20), enlarge=3)).eval()
    theirs = Classifier(replace(spec, image_size=(48, 60), enlarge=1)).eval()
    theirs.load_state_dict(itself.state_dict())
    with torch.no_grad():
        answers, expected = itself(images), theirs(larger.permute(0, 2, 3, 1))
    assert torch.allclose(answers, expected, rtol=1e-3, atol=1e-4)


def test_efficientnet_says_what_is_too_small_for_it() -> None:
    assert LEAST_LITE == efficientnet.SMALLEST
    small = replace(SPEC, model="efficientnet_lite0", enlarge=1)
    with pytest.raises(UserError, match="needs image_size 33 or more, not 32: recipe.enlarge"):
        Classifier(replace(small, image_size=32))
    images = torch.zeros((2, 33, 40, 1), dtype=torch.uint8)
    assert Classifier(replace(small, image_size=(33, 40)))(images).isfinite().all()


@pytest.mark.parametrize("image_size", [28, (20, 36)])
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_is_rebuilt_with_the_same_answers(
    name: str, image_size: int | tuple[int, int], tmp_path: Path
) -> None:
    spec = replace(SPEC, model=name, activation="silu", dropout=0.5, image_size=image_size)
    model = Classifier(spec).eval()
    weights.save(model, tmp_path)
    images = torch.randint(0, 256, (3, *spec.shape), dtype=torch.uint8)
    assert torch.equal(weights.load(tmp_path)(images), model(images))


def test_keras_initialisation_is_uniform_by_both_fans_with_zero_biases() -> None:
    assert set(INITIALISATIONS) == {"gain", "glorot", "identity"}
    model = Classifier(replace(SPEC, initialisation="glorot"))
    second = [layer for layer in model.trunk if isinstance(layer, nn.Conv2d)][1]
    limit = (6 / (9 * 32 + 9 * 64)) ** 0.5
    assert second.weight.abs().max().item() == pytest.approx(limit, rel=1e-3)
    assert second.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert second.bias is not None and not second.bias.any()


def test_the_head_of_efficientnet_reads_the_greatest_values_of_the_last_layer_too() -> None:
    lite0 = replace(SPEC, model="efficientnet_lite0", activation="relu6")
    model = Classifier(replace(lite0, image_size=96)).eval()
    last = 1280  # channels
    with torch.no_grad():
        images = torch.randint(0, 256, (2, 96, 96, 1), dtype=torch.uint8)
        features, seen = model.features(images), model.normal(images)
        for layer in model.trunk:
            seen = layer(seen)
        assert torch.equal(features[:, -last:], seen.amax((2, 3)))
        assert torch.allclose(features[:, -2 * last : -last], seen.mean((2, 3)))
