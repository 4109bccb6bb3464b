"""Where a network looks, by Grad-CAM and integrated gradients, and whether that is true."""

import captum.attr
import torch
from torch import Tensor, nn

from imagetrail.base.samples import at_once
from imagetrail.models.backbone import Backbone
from imagetrail.models.classifier import Classifier


def grad_cam(model: Classifier, images: Tensor, targets: Tensor) -> Tensor | None:
    """N×H×W, 0 … 1: the trunk's last maps weighted by gradients (arXiv:1610.02391).

    They are those of its last convolution or, of a network of the hub, what its last layer gives:
    maps, or tokens laid out as their patches are. None for a trunk that keeps no places.
    """
    _, backbone = _hub(model)
    seen, logits = _seen(model, images.float())
    if seen is None:
        return None
    slopes = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), seen)[0]
    maps: Tensor | None = torch.cat([seen.detach(), slopes])
    if maps is not None and backbone is not None:
        maps = backbone.maps(maps, (images.shape[1], images.shape[2]))
    if maps is None:
        return None
    values, weights = maps.chunk(2)
    cam = (weights.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True).relu()
    return _scaled(nn.functional.interpolate(cam, images.shape[1:3], mode="bilinear")[:, 0])


def _hub(model: Classifier) -> tuple[nn.Module | None, Backbone | None]:
    """The two layers of the trunk of a network of the hub."""
    layers = [*model.trunk.children()]
    if layers and isinstance(layers[-1], Backbone):
        return layers[0], layers[-1]
    return None, None


def _seen(model: Classifier, images: Tensor) -> tuple[Tensor | None, Tensor]:
    """What the last layer with places gives, if there is one, and the logits made of it."""
    shift, backbone = _hub(model)
    if shift is not None and backbone is not None:
        seen, features = backbone.look(shift(model.normal(images)))
        return seen, model.head(features)
    convolutions = [layer for layer in model.trunk.modules() if isinstance(layer, nn.Conv2d)]
    found: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, given: found.append(given))
        for layer in convolutions[-1:]
    ]
    logits = model(images)
    for hook in hooks:
        hook.remove()
    return (found[0] if found else None), logits


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
