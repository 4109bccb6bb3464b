"""Convolutions of each channel by itself, learned on a CPU without its slow kernels.

Networks for photos consist of them (EfficientNet, MobileNet, ConvNeXt). With two of their gradients
oneDNN 3.12 is 5 to 50 times slower than need be: that of the weights of kernels wider than 3, and,
in bfloat16, that of the pictures where the stride is above 1. Here the first is computed three
columns at a time, the second in float32: in bfloat16, EfficientNet-Lite0 trains 1.7 to 1.9 times as
fast.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

WIDE = 3  # columns of a kernel that oneDNN is fast with; rows do not matter

Pair = tuple[int, int]


class Depthwise(nn.Conv2d):
    """A depthwise convolution, the same function as torch's; it differs in training alone."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training or images.device.type != "cpu":
            return super().forward(images)
        cast = torch.is_autocast_enabled("cpu")
        kind = torch.get_autocast_dtype("cpu") if cast else images.dtype
        bias = None if self.bias is None else self.bias.to(kind)
        made: Tensor = _Convolution.apply(  # type: ignore[no-untyped-call]
            images.to(kind), self.weight.to(kind), bias, self.stride, self.padding
        )
        return made


def quicken(network: nn.Module) -> None:
    """Replaces the depthwise convolutions that torch is slow with, and keeps their weights."""
    for layer in network.modules():
        if type(layer) is nn.Conv2d and _fits(layer):
            layer.__class__ = Depthwise


def _fits(layer: nn.Conv2d) -> bool:
    depthwise = 1 < layer.groups == layer.in_channels == layer.out_channels
    slow = layer.kernel_size[1] > WIDE or max(layer.stride) > 1
    plain = layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    return depthwise and slow and plain and not isinstance(layer.padding, str)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(images, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (images, weight) = gradients, ctx.saved_tensors
        of_images = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_images = _of_images(gradient, images, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(gradient, images, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.permute(0, 2, 3, 1).flatten(0, 2).sum(0)
        return of_images, of_weight, of_bias, None, None


def _of_images(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    given = gradient, images, weight
    if max(stride) > 1:
        given = gradient.float(), torch.empty_like(images, dtype=torch.float32), weight.float()
    return _backward(*given, stride, padding, of_images=True).to(images.dtype)


def _of_weight(
    gradient: Tensor, images: Tensor, weight: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    """WIDE columns of the kernel at a time: of each, what it saw is cut out or padded.

    Some columns of a kernel that is wider than the pictures may have seen nothing; such are quick.
    """
    if not WIDE < weight.shape[3] <= images.shape[3]:
        return _backward(gradient, images, weight, stride, padding, of_images=False)
    parts = []
    for left in range(0, weight.shape[3], WIDE):
        part = weight[..., left : left + WIDE].contiguous()
        seen = (gradient.shape[3] - 1) * stride[1] + part.shape[3]  # columns of the picture
        before = padding[1] - left
        window = functional.pad(images, (before, seen - before - images.shape[3]))
        around = (padding[0], 0)
        parts.append(_backward(gradient, window, part, stride, around, of_images=False))
    return torch.cat(parts, 3)


def _backward(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    stride: Pair,
    padding: Pair,
    *,
    of_images: bool,
) -> Tensor:
    made = torch.ops.aten.convolution_backward(
        *(gradient, images, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight)),
        (of_images, not of_images, False),
    )
    of: Tensor = made[0 if of_images else 1]
    return of
