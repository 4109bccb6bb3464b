"""Maps of where a network looks."""

import captum.attr
import pytest
import torch
from article import SPEC

from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import MODELS
from imagetrail.stages.explain import attribution

IMAGES = torch.randint(
    0, 256, (4, *SPEC.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
)
TARGETS = torch.tensor([0, 3, 5, 9])


def model(name: str) -> Classifier:
    torch.manual_seed(0)
    return Classifier(SPEC.__class__(**(vars(SPEC) | {"model": name, "std": (90.0,)}))).eval()


@pytest.mark.parametrize("name", ["article", "fast", "resnet", "efficientnet_lite1"])
def test_grad_cam_is_that_of_captum_at_the_last_convolution(name: str) -> None:
    network = model(name)
    last = [layer for layer in network.trunk.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    found = captum.attr.LayerGradCam(network, last).attribute(
        IMAGES.float(), TARGETS, relu_attributions=True
    )
    large = captum.attr.LayerAttribution.interpolate(found.detach(), (28, 28), "bilinear")[:, 0]
    expected = large / large.flatten(1).amax(1).clamp_min(1e-12)[:, None, None]
    saliency = attribution.grad_cam(network, IMAGES, TARGETS)
    assert saliency is not None and torch.allclose(saliency, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_a_network_that_keeps_no_places_has_no_map(name: str) -> None:
    assert name in MODELS and attribution.grad_cam(model(name), IMAGES, TARGETS) is None
