from dataclasses import replace

import numpy as np
import torch
from article import SPEC
from torch import nn

from imagetrail.base.samples import Samples, make_index
from imagetrail.models.airbench import Whitening
from imagetrail.models.classifier import Classifier
from imagetrail.training import loop
from imagetrail.training.recipe import Recipe


def test_whitened_patches_have_uncorrelated_directions_of_unit_variance() -> None:
    layer, draw = Whitening(3), torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 9, 7, generator=draw)
    images = images + 2 * images.roll(1, 3) + images.roll(1, 1)  # neighbours and colours alike
    images -= images.mean((0, 2, 3), keepdim=True)
    layer.fit(images)
    half = layer(images).movedim(1, 3).flatten(0, 2)[:, :12]
    spread = half.T @ half / len(half)
    assert torch.allclose(spread, torch.eye(12), atol=0.02)
    assert torch.equal(layer(images)[:, 12:], -layer(images)[:, :12]), "both signs"


def test_a_training_solves_the_filters_on_its_own_pictures_and_does_not_learn_them() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    labels = np.arange(40) % 2
    ids = [str(number) for number in range(40)]
    index = make_index(ids=ids, labels=labels, origin="real", sources=ids)
    train = Samples(images, index, ("a", "b"))
    recipe = Recipe(model="airbench", activation="gelu", width=0.25, epochs=1, lr=0.01)
    training = loop.start(recipe, train, seed=0)
    first = training.model.trunk[0]
    assert isinstance(first, Whitening)
    other = Whitening(3)
    assert not torch.allclose(first.weight, other.weight)
    other.fit(training.model.normal(torch.from_numpy(images)))
    assert torch.allclose(first.weight, other.weight)
    assert "trunk.0.weight" not in dict(training.model.named_parameters())
    assert isinstance(training.model.trunk[2], nn.Conv2d)


def test_a_network_may_begin_by_passing_on_what_comes_in() -> None:
    spec = replace(SPEC, model="airbench", width=0.25, initialisation="identity")
    layers = [layer for layer in Classifier(spec).trunk if isinstance(layer, nn.Conv2d)]
    maps = torch.randn(2, 16, 5, 5)
    passing = layers[1]
    assert passing.in_channels == passing.out_channels == 16
    assert torch.allclose(passing(maps), maps, atol=1e-6)
    assert torch.allclose(layers[2](maps)[:, :16], maps, atol=1e-6), "the others are drawn"
    assert layers[2].weight[16:].std() > 0.01
