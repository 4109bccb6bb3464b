"""New images without a training: pictures blended with a fellow of their class, and bent."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imagetrail.base.rng import derive
from imagetrail.base.samples import Images, Samples

NEIGHBOURS = 8  # of its class that a picture may be blended with
BLEND = 0.5  # share of the neighbour at most
KNOTS = 4  # of the field of displacements, each way
BEND = 0.035  # standard deviation of a knot's displacement, in sides of the picture
SHIFT = 0.04  # greatest displacement of the whole, in sides
TURN, ZOOM = 10.0, 0.1  # degrees and share at most, either way
THUMBNAIL = 14  # side of the pictures that neighbours are sought with
CHUNK = 1024


@dataclass(frozen=True)
class Warp:
    """Blending neighbours is SMOTE (arXiv:1106.1813).

    The random field is that of Simard et al. (2003), with few knots. Of a class with one picture,
    every new one is that picture bent.
    """

    pictures: list[Images]  # of each class

    def sample(self, label: int, count: int, *, seed: int) -> Images:
        rng = torch.Generator().manual_seed(derive(seed, "warp", label))
        mine = self.pictures[label]
        rounds = -(-count // max(len(mine), 1))
        orders = [torch.randperm(len(mine), generator=rng) for _ in range(rounds)]
        parents = torch.cat(orders)[:count]  # each once before any comes again
        small = _thumbnails(mine)
        parts = torch.split(parents, CHUNK)
        return np.concatenate([mine[:0], *(self._bent(mine, small, part, rng) for part in parts)])

    def _bent(self, mine: Images, small: Tensor, parents: Tensor, rng: torch.Generator) -> Images:
        partners = _neighbours(small, parents, rng)
        share = BLEND * torch.rand((len(parents), 1, 1, 1), generator=rng)
        first, second = (
            torch.from_numpy(mine[which.numpy()]).permute(0, 3, 1, 2).float()
            for which in (parents, partners)
        )
        blended = torch.lerp(first, second, share)
        grid = _field(len(parents), mine.shape[1], mine.shape[2], rng)
        bent = functional.grid_sample(
            blended, grid, mode="bicubic", padding_mode="border", align_corners=False
        )
        images: Images = bent.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return images


def fit(train: Samples, *, epochs: int, seed: int) -> Warp:  # noqa: ARG001  nothing is trained
    return Warp([train.images[train.labels == label] for label in range(len(train.classes))])


def _thumbnails(images: Images) -> Tensor:
    """N×T in 0 … 255, grey and small."""
    side, small = min(THUMBNAIL, *images.shape[1:3]), []
    for at in range(0, len(images), CHUNK):
        grey = torch.from_numpy(images[at : at + CHUNK]).float().mean(3)
        small.append(functional.adaptive_avg_pool2d(grey[:, None], side).flatten(1))
    return torch.cat(small)


def _neighbours(small: Tensor, parents: Tensor, rng: torch.Generator) -> Tensor:
    """For each parent one of its nearest fellows; itself where it has none."""
    away = torch.cdist(small[parents], small)
    away[torch.arange(len(parents)), parents] = torch.inf
    nearest = away.topk(min(NEIGHBOURS, max(len(small) - 1, 1)), largest=False).indices
    drawn = torch.randint(nearest.shape[1], (len(parents), 1), generator=rng)
    return nearest.gather(1, drawn)[:, 0]


def _field(count: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """Where each pixel is taken from, count×H×W×2 in −1 … 1.

    The picture is turned, zoomed, shifted, and bent smoothly.
    """
    drawn = 2 * torch.rand((4, count), generator=rng) - 1
    angle, scale, shift = drawn[0] * math.radians(TURN), 1 + ZOOM * drawn[1], 2 * SHIFT * drawn[2:]
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    rows = [torch.stack([cosine, -sine, shift[0]], 1), torch.stack([sine, cosine, shift[1]], 1)]
    shape = [count, 1, height, width]
    whole = functional.affine_grid(torch.stack(rows, 1), shape, align_corners=False)
    knots = 2 * BEND * torch.randn((count, 2, KNOTS, KNOTS), generator=rng)
    smooth = functional.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
    return whole + smooth.permute(0, 2, 3, 1)
