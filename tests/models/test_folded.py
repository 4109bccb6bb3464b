"""A folded network answers as the one that it is made of, which stays as it is."""

from dataclasses import replace

import pytest
import torch
from article import SPEC
from torch import nn

from imagetrail.models.classifier import Classifier
from imagetrail.models.folded import folded
from imagetrail.models.networks import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_a_folded_network_sees_the_same(name: str) -> None:
    model = Classifier(replace(SPEC, model=name)).eval()
    for layer in model.trunk.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    pictures = 50 * torch.randn(3, 1, *model.spec.sides)
    before = {key: value.clone() for key, value in model.trunk.state_dict().items()}
    with torch.no_grad():
        seen, again = model.trunk(pictures), folded(model.trunk)(pictures)
    assert torch.allclose(again, seen, rtol=1e-3, atol=1e-4 * float(seen.abs().max()))
    assert all(torch.equal(before[key], value) for key, value in model.trunk.state_dict().items())


def test_of_efficientnet_no_normalisation_is_left_and_in_training_it_is_no_other() -> None:
    trunk = Classifier(replace(SPEC, model="efficientnet_lite0")).trunk.train()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded(trunk).modules())
    assert trunk.training and any(isinstance(layer, nn.BatchNorm2d) for layer in trunk.modules())
