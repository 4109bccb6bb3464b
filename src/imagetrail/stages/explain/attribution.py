"""Where a network looks, and whether that is true: Grad-CAM, integrated gradients, and a check against chance."""

import captum.attr
import torch
from torch import Tensor, nn

from imagetrail.models.classifier import Classifier


def grad_cam(model: Classifier, images: Tensor, targets: Tensor) -> Tensor | None:
    """N×H×W, 0 … 1: the last convolution's maps weighted by their gradients (arXiv:1610.02391).

    None for a network without convolutions.
    """
    convolutions = [layer for layer in model.network.modules() if isinstance(layer, nn.Conv2d)]
    if not convolutions:
        return None
    cam = captum.attr.LayerGradCam(model, convolutions[-1]).attribute(
        images.float(), targets, relu_attributions=True
    )
    resized = captum.attr.LayerAttribution.interpolate(cam.detach(), images.shape[1:3], "bilinear")
    return _scaled(resized[:, 0])


def integrated_gradients(model: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """N×H×W, 0 … 1: gradients summed on the way from the mean picture to the image (arXiv:1703.01365)."""
    baseline = model.mean.expand_as(images[:1])
    attribution = captum.attr.IntegratedGradients(model).attribute(
        images.float(), baseline, targets, n_steps=32, internal_batch_size=256
    )
    return _scaled(attribution.detach().abs().sum(3))


METHODS = {"grad_cam": grad_cam, "integrated_gradients": integrated_gradients}


@torch.no_grad()
def deletion_drop(
    model: Classifier, images: Tensor, targets: Tensor, saliency: Tensor, share: float
) -> float:
    """How far the target's probability falls, on average, when the most salient `share` of pixels becomes the mean."""
    count = max(1, int(share * saliency[0].numel()))
    chosen = saliency.flatten(1).topk(count).indices
    mask = (
        torch.zeros(saliency.flatten(1).shape)
        .scatter(1, chosen, 1.0)
        .bool()
        .reshape(saliency.shape)
    )
    erased = torch.where(mask[..., None], model.mean, images.float())
    before, after = model(images).softmax(1), model(erased).softmax(1)
    return float((before - after).gather(1, targets[:, None]).mean())


def _scaled(saliency: Tensor) -> Tensor:
    top = saliency.flatten(1).amax(1).clamp_min(1e-12)
    return saliency / top[:, None, None]
