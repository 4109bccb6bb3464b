"""How like real images new ones are: as a distribution, and each by its nearest real one."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagetrail.base.samples import Images

Floats = NDArray[np.float64]
FEW = 10  # images below which a class's own distances say too little
PROBED = 500  # images of a class whose nearest fellow is sought
CHUNK = 2 << 20  # pixels compared with at a time
CLOSEST = 0.01  # share of real images that stand as near to a fellow as a near copy does


def flat(images: Images) -> Tensor:
    """N×P float32 in 0 … 1."""
    return torch.from_numpy(
        images.reshape(len(images), np.prod(images.shape[1:])).astype(np.float32) / 255
    )


def nearest(images: Images, others: Images, itself: NDArray[np.int64] | None = None) -> Floats:
    """Euclidean distance of each image to the nearest of `others`, in pixels scaled to 0 … 1.

    itself: the place of each image among `others`, which does not count.
    """
    mine, found = flat(images), torch.full((len(images),), torch.inf)
    size = min(2048, max(1, CHUNK // mine.shape[1]))
    for start in range(0, len(others), size):
        away = torch.cdist(mine, flat(others[start : start + size]))
        if itself is not None:
            inside = np.flatnonzero((itself >= start) & (itself < start + size))
            away[inside, itself[inside] - start] = torch.inf
        found = torch.minimum(found, away.min(1).values)
    distances: Floats = found.double().numpy()
    return distances


@dataclass(frozen=True)
class Memory:
    """The real images of each class, and how near to one of them a new one must not stand."""

    images: list[Images]
    thresholds: list[float]

    def copies(self, new: Images, label: int) -> NDArray[np.bool_]:
        """Which new images are near copies."""
        mask: NDArray[np.bool_] = nearest(new, self.images[label]) <= self.thresholds[label]
        return mask


def remember(images: list[Images], rng: np.random.Generator) -> Memory:
    """Thresholds: the distance of the closest 1 % of a class's images to their nearest fellow.

    A class of fewer than ten borrows from all classes. An image within a grey level a pixel is a
    copy in any case.
    """
    fellows = [_fellows(some, rng) for some in images]
    least = float(np.sqrt(np.prod(images[0].shape[1:]))) / 255
    pooled = np.concatenate(fellows)

    def threshold(own: Floats) -> float:
        own = own if len(own) >= FEW else pooled
        return max(least, float(np.quantile(own, CLOSEST))) if len(own) else least

    return Memory(images, [threshold(own) for own in fellows])


def _fellows(images: Images, rng: np.random.Generator) -> Floats:
    probed = rng.permutation(len(images))[:PROBED] if len(images) > 1 else np.empty(0, np.int64)
    return nearest(images[probed], images, probed)


def frechet(ours: Floats, theirs: Floats) -> float:
    """Fréchet distance of two Gaussians fitted to features, N×D each (arXiv:1706.08500)."""
    difference = ours.mean(0) - theirs.mean(0)
    first, second = (np.atleast_2d(np.cov(features.T)) for features in (ours, theirs))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2 * shared)


def density_coverage(real: Floats, new: Floats, k: int = 5) -> tuple[float, float]:
    """How densely real features N×D surround the new, and the share of real ones near a new one.

    Near is within the distance of a real one's k-th nearest fellow (arXiv:2002.09797). Both are
    about 1 for real images.
    """
    ours, theirs = torch.from_numpy(real), torch.from_numpy(new)
    k = min(k, len(ours) - 1)
    radii = torch.cdist(ours, ours).kthvalue(k + 1, dim=1).values
    inside = torch.cdist(ours, theirs) <= radii[:, None]
    return inside.sum().item() / (k * len(theirs)), inside.any(1).double().mean().item()
