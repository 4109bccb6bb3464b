"""What a method's maps are tried by: pictures of which the cells that they name are changed.

Maps are read in cells, so that fine and coarse ones change a picture in equal steps. Deletion puts
a baseline in the place of the cells that a map names first; insertion begins with the baseline, and
puts these cells in (arXiv:1806.07421). There are two baselines, of which the mean counts: blurring
takes away what is there without an edge of its own, but spares what is coarse; the mean colour of
train spares nothing, but makes edges.
"""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imagetrail.models.classifier import Classifier
from imagetrail.serving import occlusion
from imagetrail.stages.explain.attribution import probabilities

CELLS = 14  # a side
SHARES = (0.1, 0.25, 0.5)  # of the cells that are changed
KINDS = ("deletion", "insertion")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """Pictures, and what any method is compared with on them."""

    model: Classifier
    random: Classifier  # the same network with weights that have learned nothing
    images: Tensor  # N×H×W×C uint8, in random order: the next one is any other
    targets: Tensor  # N: the classes that the model names
    certain: Floats  # N: their probabilities
    baselines: tuple[Tensor, Tensor]  # each N×H×W×C float32
    bare: Floats  # N: the probabilities of these, the mean over both
    ties: Tensor  # N×CELLS², random: which of two equal cells comes first

    @cached_property
    def by_chance(self) -> "dict[str, Floats]":
        """The curves of random cells."""
        return curves(self, self.ties.roll(1, 0))

    def part(self, chosen: slice) -> "Trial":
        """With these pictures alone."""
        return Trial(
            self.model,
            self.random,
            self.images[chosen],
            self.targets[chosen],
            self.certain[chosen],
            (self.baselines[0][chosen], self.baselines[1][chosen]),
            self.bare[chosen],
            self.ties[chosen],
        )


def begin(model: Classifier, images: Tensor, seed: int) -> Trial:
    """images: of the sample, two or more in random order."""
    found = probabilities(model, images).max(1)
    blurred = np.stack([occlusion.blurred(image) for image in images.numpy()])
    baselines = (torch.from_numpy(blurred).float(), model.mean.expand_as(images.float()))
    bare = [_certain(model, found.indices, baseline) for baseline in baselines]
    stream = torch.Generator().manual_seed(seed)
    return Trial(
        model,
        _untrained(model, images, seed),
        images,
        found.indices,
        found.values.double().numpy(),
        baselines,
        np.mean(bare, 0),
        torch.rand(len(images), CELLS**2, generator=stream),
    )


def cells(maps: Tensor) -> Tensor:
    """N×CELLS²: the mean of maps N×H×W over each cell."""
    return nn.functional.adaptive_avg_pool2d(maps[:, None].float(), CELLS)[:, 0].flatten(1)


def curves(trial: Trial, named: Tensor) -> dict[str, Floats]:
    """The target's probability after deletion and after insertion of each of SHARES.

    N×SHARES each: the mean over baselines. named: N×CELLS², the most is changed first.
    """
    images, p = trial.images.float(), partial(_certain, trial.model, trial.targets)
    found: dict[str, list[Floats]] = {kind: [] for kind in KINDS}
    order = np.lexsort((trial.ties.numpy(), -named.numpy()), axis=1)
    for share in SHARES:
        mask = _mask(torch.from_numpy(order[:, : max(1, int(share * CELLS**2))]), images)
        without = [p(torch.where(mask, baseline, images)) for baseline in trial.baselines]
        alone = [p(torch.where(mask, images, baseline)) for baseline in trial.baselines]
        found["deletion"].append(np.mean(without, 0))
        found["insertion"].append(np.mean(alone, 0))
    return {kind: np.stack(columns, 1) for kind, columns in found.items()}


def _mask(chosen: Tensor, images: Tensor) -> Tensor:
    """N×H×W×1: the pixels of these cells."""
    flat = torch.zeros(len(chosen), CELLS**2).scatter(1, chosen, 1.0)
    squares = flat.reshape(-1, 1, CELLS, CELLS)
    sides = images.shape[1:3]
    return nn.functional.interpolate(squares, sides, mode="nearest").permute(0, 2, 3, 1) > 0


def _certain(model: Classifier, targets: Tensor, images: Tensor) -> Floats:
    found = probabilities(model, images).gather(1, targets[:, None])
    return np.asarray(found[:, 0].double().numpy(), np.float64)


@torch.no_grad()
def _untrained(model: Classifier, images: Tensor, seed: int) -> Classifier:
    """The network anew (arXiv:1810.03292), its normalisation that of these pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        fresh = Classifier(model.spec)
        for layer in fresh.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None  # the mean of what it sees
        fresh.train()(images[:64])
    return fresh.eval()
