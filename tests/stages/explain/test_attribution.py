"""Maps of where a network looks."""

import captum.attr
import pytest
import torch
from article import SPEC

from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import MODELS
from imagetrail.serving import occlusion
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
    expected = captum.attr.LayerAttribution.interpolate(found.detach(), (28, 28), "bilinear")[:, 0]
    saliency = attribution.grad_cam(network, IMAGES, TARGETS)
    scale = expected.abs().max()
    assert saliency is not None and torch.allclose(saliency / scale, expected / scale, atol=1e-4)


@pytest.mark.parametrize("name", attribution.METHODS)
@pytest.mark.parametrize("model_name", ["article", "fast", "airbench", "efficientnet_lite0"])
def test_every_method_has_a_map_of_each_picture_by_itself(name: str, model_name: str) -> None:
    network = model(model_name)
    whole = attribution.maps(name, network, IMAGES, TARGETS)
    alone = attribution.maps(name, network, IMAGES[1:2], TARGETS[1:2])
    assert whole is not None and alone is not None and whole.shape == (4, 28, 28)
    assert torch.isfinite(whole).all() and not whole.requires_grad
    scale = float(whole[1].abs().max()) + 1e-12
    assert torch.allclose(alone[0] / scale, whole[1] / scale, atol=0.05)


def test_integrated_gradients_add_up_to_what_blurring_takes() -> None:
    network = model("fast")
    maps = attribution.integrated_gradients(network, IMAGES, TARGETS)
    blurred = torch.stack(
        [torch.from_numpy(occlusion.blurred(one).copy()) for one in IMAGES.numpy()]
    )
    with torch.no_grad():
        rise = (network(IMAGES) - network(blurred)).gather(1, TARGETS[:, None])[:, 0]
    assert torch.allclose(maps.sum((1, 2)), rise, rtol=0.05, atol=0.1)


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_a_network_that_keeps_no_places_has_no_map(name: str) -> None:
    assert name in MODELS and attribution.grad_cam(model(name), IMAGES, TARGETS) is None


def test_work_is_spread_over_cores_and_comes_back_in_order_and_leaves_torch_as_it_was() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network, images = model("fast"), IMAGES.repeat(80, 1, 1, 1)  # more than go at once
        many = attribution.probabilities(network, images)
        assert torch.get_num_threads() == 2 and len(images) > attribution.few(network.spec.sides)
        torch.set_num_threads(1)
        assert torch.equal(attribution.probabilities(network, images), many)
    finally:
        torch.set_num_threads(before)


def test_the_larger_pictures_are_the_fewer_go_through_a_network_at_once() -> None:
    sizes = [attribution.few((side, side)) for side in (28, 224, 2000)]
    assert sizes[0] > 200 and 2 <= sizes[1] <= 8 and sizes[2] == 1
