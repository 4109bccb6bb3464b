"""Where a network looks, by Grad-CAM and integrated gradients, and whether that is true."""

import captum.attr
import torch
from torch import Tensor, nn

from imagetrail.base.samples import at_once
from imagetrail.models.classifier import Classifier


def grad_cam(model: Classifier, images: Tensor, targets: Tensor) -> Tensor | None:
    """N×H×W, 0 … 1: maps of the trunk's last convolution weighted by gradients (arXiv:1610.02391).

    None for a trunk without convolutions.
    """
    convolutions = [layer for layer in model.trunk.modules() if isinstance(layer, nn.Conv2d)]
    if not convolutions:
        return None
    cam = captum.attr.LayerGradCam(model, convolutions[-1]).attribute(
        images.float(), targets, relu_attributions=True
    )
    resized = captum.attr.LayerAttribution.interpolate(cam.detach(), images.shape[1:3], "bilinear")
    return _scaled(resized[:, 0])


def integrated_gradients(model: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """N×H×W, 0 … 1: gradients summed from the mean picture to the image (arXiv:1703.01365)."""
    baseline = model.mean.expand_as(images[:1])
    attribution = captum.attr.IntegratedGradients(model).attribute(
        images.float(),
        baseline,
        targets,
        n_steps=32,
        internal_batch_size=at_once(images.numpy(), 256),
    )
    return _scaled(attribution.detach().abs().sum(3))


METHODS = {"grad_cam": grad_cam, "integrated_gradients": integrated_gradients}


@torch.no_grad()
def deletion_drop(
    model: Classifier, images: Tensor, targets: Tensor, saliency: Tensor, share: float
) -> float:
    """How far the target's probability falls when the most salient pixels become the mean.

    share: of the pixels. It is the average over the images.
    """
    flat = saliency.flatten(1)
    chosen = flat.topk(max(1, int(share * flat.shape[1]))).indices
    mask = torch.zeros_like(flat, dtype=torch.bool).scatter(1, chosen, value=True)
    erased = torch.where(mask.reshape(saliency.shape)[..., None], model.mean, images.float())
    before, after = model(images).softmax(1), model(erased).softmax(1)
    return float((before - after).gather(1, targets[:, None]).mean())


def _scaled(saliency: Tensor) -> Tensor:
    top = saliency.flatten(1).amax(1).clamp_min(1e-12)
    return saliency / top[:, None, None]
