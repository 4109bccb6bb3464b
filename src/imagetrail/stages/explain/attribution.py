"""Where a network looks, by several methods; which of them tell the truth, `trial` finds out.

Each gives of images N×H×W×C and their target classes N×H×W: the more, the more a place speaks for
the target. None for a network that keeps no places.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import captum.attr
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imagetrail.base.samples import Images
from imagetrail.models.backbone import Backbone
from imagetrail.models.classifier import Classifier
from imagetrail.serving import occlusion

Made = TypeVar("Made")
CACHED = 600_000  # bytes of colour pictures whose way through a network a core's cache holds
# Of integrated gradients: with 16, maps are no truer on Fashion-MNIST, CIFAR-10 or solar cells.
STEPS = 8


def probabilities(model: Classifier, images: Tensor) -> Tensor:
    """N×K, with the precision of the exported model; of images uint8 or float32."""

    @torch.no_grad()
    def answer(some: Tensor) -> Tensor:
        found: Tensor = model(some).softmax(1)
        return found

    return torch.cat(spread(answer, torch.split(images, few(model.spec.sides))))


def few(sides: tuple[int, int]) -> int:
    """How many pictures go through a network at once that sees them as H×W; grey ones as colour."""
    height, width = sides
    return int(max(1, min(256, CACHED // (3 * height * width))))


def spread(work: Callable[..., Made], *parts: Sequence[Tensor]) -> list[Made]:
    """What is made of each of the parts, in order, each on one core.

    None waits for another, as it would if cores shared each, and however many there are, the same
    comes out.
    """
    cores = torch.get_num_threads()
    if cores == 1:
        return [*map(work, *parts)]
    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return [*pool.map(work, *parts)]


def occluded(model: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """By the code of `imagetrail predict --explain`, which needs no gradients."""

    def answer(changed: Images) -> NDArray[np.float64]:
        return probabilities(model, torch.from_numpy(changed)).double().numpy()

    pairs = zip(images.numpy(), targets.tolist(), strict=True)
    maps = [occlusion.sensitivity(answer, image, target) for image, target in pairs]
    return torch.from_numpy(np.stack(maps)).float()


def integrated_gradients(model: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """Gradients summed on the way from the blurred picture to the picture (arXiv:1703.01365).

    From the mean picture instead they are less true (docs/design/tried.md).
    """
    blurred = np.stack([occlusion.blurred(image) for image in images.numpy()])
    attribution: Tensor = captum.attr.IntegratedGradients(model).attribute(
        images.float(),
        torch.from_numpy(blurred).float(),
        targets,
        n_steps=STEPS,
        internal_batch_size=max(len(images), few(model.spec.sides)),
    )
    return attribution.detach().sum(3).float()


def grad_cam(model: Classifier, images: Tensor, targets: Tensor) -> Tensor | None:
    """The trunk's last maps, each weighted by its mean gradient (arXiv:1610.02391).

    They are those of its last convolution or, of a network of the hub, what its last layer gives:
    maps, or tokens laid out as their patches are.
    """
    _, backbone = _hub(model)
    seen, logits = _seen(model, images.float(), 1.0)
    if seen is None:
        return None
    slopes = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), seen)[0]
    maps: Tensor | None = torch.cat([seen.detach(), slopes])
    if maps is not None and backbone is not None:
        maps = backbone.maps(maps, (images.shape[1], images.shape[2]))
    if maps is None:
        return None
    values, weights = maps.chunk(2)
    return _enlarged((weights.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True), images)


def layer_cam(model: Classifier, images: Tensor, targets: Tensor) -> Tensor | None:
    """The maps of an early convolution, each place weighted by its own gradient.

    As fine as those maps are (Jiang et al., IEEE TIP 30, 2021). None for a network of the hub.
    """
    if _hub(model)[1] is not None:
        return None
    seen, logits = _seen(model, images.float(), EARLY)
    if seen is None:
        return None
    slopes = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), seen)[0]
    return _enlarged((slopes.relu() * seen.detach()).sum(1, keepdim=True), images)


EARLY = 0.25  # of the convolutions come before it
METHODS: dict[str, Callable[[Classifier, Tensor, Tensor], Tensor | None]] = {
    "occlusion": occluded,  # the first that passes is drawn: this one an exported model can do
    "integrated_gradients": integrated_gradients,
    "layer_cam": layer_cam,
    "grad_cam": grad_cam,
}
APART = ("occlusion", "integrated_gradients")  # leave the network as it is: others hook into it


def maps(name: str, model: Classifier, images: Tensor, targets: Tensor) -> Tensor | None:
    """Those of a method, a few pictures at a time."""
    size = 1 if name in APART else few(model.spec.sides)
    method = partial(METHODS[name], model)
    parts = torch.split(images, size), torch.split(targets, size)
    made = spread(method, *parts) if name in APART else [*map(method, *parts)]
    found = [part for part in made if part is not None]
    return torch.cat(found) if found else None


def _enlarged(cam: Tensor, images: Tensor) -> Tensor:
    sides = images.shape[1:3]
    return nn.functional.interpolate(cam.relu(), sides, mode="bilinear")[:, 0].detach()


def _hub(model: Classifier) -> tuple[nn.Module | None, Backbone | None]:
    """The two layers of the trunk of a network of the hub."""
    layers = [*model.trunk.children()]
    if layers and isinstance(layers[-1], Backbone):
        return layers[0], layers[-1]
    return None, None


def _seen(model: Classifier, images: Tensor, depth: float) -> tuple[Tensor | None, Tensor]:
    """What a layer with places gives, if there is one, and the logits made of it.

    depth: the share of the convolutions up to it; 1: the last.
    """
    shift, backbone = _hub(model)
    if shift is not None and backbone is not None:
        seen, features = backbone.look(shift(model.normal(images)))
        return seen, model.head(features)
    convolutions = [layer for layer in model.trunk.modules() if isinstance(layer, nn.Conv2d)]
    place = min(int(depth * len(convolutions)), len(convolutions) - 1)
    found: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, given: found.append(given))
        for layer in convolutions[place : place + 1]
    ]
    logits = model(images)
    for hook in hooks:
        hook.remove()
    return (found[0] if found else None), logits
