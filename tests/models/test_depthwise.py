import pytest
import torch
from torch import Tensor, nn

from imagetrail.models.depthwise import Depthwise, quicken

KERNELS = [(3, 2, 1), (3, 2, 0), (5, 1, 2), (5, 2, 0), (5, 2, 2), (7, 1, 3), (7, 2, 3), (4, 1, 0)]


def convolution(kernel: int, stride: int, padding: int, *, bias: bool = False) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(24, 24, kernel, stride, padding, groups=24, bias=bias)


def learned(layer: nn.Conv2d, kind: torch.dtype, sides: tuple[int, int] = (13, 18)) -> list[Tensor]:
    """Its answer to a picture that is not square, and the gradients of picture and weights."""
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(4, 24, *sides, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        answer = layer(images)
    pull = torch.randn(answer.shape, generator=torch.Generator().manual_seed(2))
    return [answer, *torch.autograd.grad(answer, (images, *layer.parameters()), pull.to(kind))]


@pytest.mark.parametrize(("kernel", "stride", "padding"), KERNELS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kind", "rounding"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_a_quick_layer_answers_and_learns_as_torchs_own_in_float32_does_but_for_rounding(
    kernel: int, stride: int, padding: int, bias: bool, kind: torch.dtype, rounding: float
) -> None:
    layer = convolution(kernel, stride, padding, bias=bias)
    exact = learned(layer, torch.float32)
    quicken(layer)
    assert type(layer) is Depthwise
    for found, right in zip(learned(layer, kind), exact, strict=True):
        assert (found - right).norm() < rounding * right.norm()


def test_a_picture_may_be_smaller_than_the_kernel() -> None:
    layer = convolution(7, 1, 3)
    exact = learned(layer, torch.float32, (2, 2))
    quicken(layer)
    for found, right in zip(learned(layer, torch.float32, (2, 2)), exact, strict=True):
        assert (found - right).norm() < 1e-6 * right.norm()


def test_a_layer_of_another_kind_stays_as_it_is() -> None:
    layers = nn.Sequential(
        nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(1, 1, 3),
        nn.Conv2d(8, 8, 5, groups=8, dilation=2), nn.Conv2d(8, 8, 5, groups=8, padding="same"),
        nn.Conv2d(8, 8, 5, padding=1, groups=8, padding_mode="reflect"),
        nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, (5, 3), groups=8),
    )  # fmt: skip
    quicken(layers)
    assert {type(layer) for layer in layers} == {nn.Conv2d}


def test_frozen_weights_and_pictures_that_need_no_gradient_get_none() -> None:
    layer = convolution(5, 2, 2)
    quicken(layer)
    images = torch.randn(2, 24, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        layer(images).sum().backward()
        assert layer.weight.grad is not None
        layer.requires_grad_(requires_grad=False)
        images.requires_grad_()
        layer(images).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
