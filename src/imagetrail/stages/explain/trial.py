"""Whether a method's maps are true to the network: each is tried on a sample of test pictures.

Maps are read in cells, so that fine and coarse ones change a picture in equal steps. Deletion puts
a baseline in the place of the cells that a map names first; insertion begins with the baseline, and
puts these cells in (arXiv:1806.07421). There are two baselines, of which the mean counts: blurring
takes away what is there without an edge of its own, but spares what is coarse; the mean colour of
train spares nothing, but makes edges.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from imagetrail.metrics.intervals import mean_interval
from imagetrail.models.classifier import Classifier
from imagetrail.serving import occlusion
from imagetrail.stages.explain import attribution
from imagetrail.stages.explain.attribution import probabilities

CELLS = 14  # a side
SHARES = (0.1, 0.25, 0.5)  # of the cells that are changed
ALIKE = 0.5  # rank correlation with the maps of a network of random weights: less, or it fails
FRESH = 12  # pictures of which that network's maps are looked at
ALPHA = 0.05  # that any method of no worth passes one of its comparisons
KINDS = ("deletion", "insertion")
Floats = NDArray[np.float64]
Figures = dict[str, float | bool]


@dataclass(frozen=True)
class Trial:
    """Pictures, and what any method is compared with on them."""

    model: Classifier
    random: Classifier  # the same network with weights that have learned nothing
    images: Tensor  # N×H×W×C uint8, in random order: the next one is any other
    targets: Tensor  # N: the classes that the model names
    certain: Floats  # N: their probabilities
    baselines: tuple[Tensor, Tensor]  # each N×H×W×C float32
    ties: Tensor  # N×CELLS², random: which of two equal cells comes first


def begin(model: Classifier, images: Tensor, seed: int) -> Trial:
    """images: of the sample, two or more in random order."""
    found = probabilities(model, images).max(1)
    blurred = np.stack([occlusion.blurred(image) for image in images.numpy()])
    stream = torch.Generator().manual_seed(seed)
    return Trial(
        model,
        _untrained(model, images, seed),
        images,
        found.indices,
        found.values.double().numpy(),
        (torch.from_numpy(blurred).float(), model.mean.expand_as(images.float())),
        torch.rand(len(images), CELLS**2, generator=stream),
    )


def judge(trial: Trial, maps: dict[str, Tensor]) -> dict[str, Figures]:
    """What is found of each method's maps N×H×W, and whether it passes.

    Intervals are Student's over the pictures, and hold for all methods together (Bonferroni).
    """
    alpha = ALPHA / max(len(maps), 1)
    by_chance = curves(trial, trial.ties.roll(1, 0))
    return {name: _judged(trial, name, found, by_chance, alpha) for name, found in maps.items()}


def _judged(
    trial: Trial, name: str, maps: Tensor, by_chance: dict[str, Floats], alpha: float
) -> Figures:
    named = cells(maps)
    mine, others = curves(trial, named), curves(trial, named.roll(1, 0))
    figures: Figures = {}
    for kind in KINDS:
        figures[kind] = float(mine[kind].mean())
        for rival, theirs in (("other", others), ("random", by_chance)):
            ahead = mine[kind] - theirs[kind]
            low, high = mean_interval(ahead, alpha=alpha)
            key = f"{kind}_over_{rival}"
            figures |= {key: float(ahead.mean()), f"{key}_low": low, f"{key}_high": high}
    few = slice(FRESH)
    untrained = attribution.maps(name, trial.random, trial.images[few], trial.targets[few])
    assert untrained is not None
    alike = correlation(named[few], cells(untrained))
    figures["randomised"] = float(alike.mean())
    figures["randomised_high"] = mean_interval(alike, alpha=alpha)[1]
    lows = [value for key, value in figures.items() if key.endswith("_low")]
    passed = min(lows) > 0 and figures["randomised_high"] < ALIKE
    return {"passed": passed} | {key: round(value, 6) for key, value in figures.items()}


def cells(maps: Tensor) -> Tensor:
    """N×CELLS²: the mean of maps N×H×W over each cell."""
    return nn.functional.adaptive_avg_pool2d(maps[:, None].float(), CELLS)[:, 0].flatten(1)


def curves(trial: Trial, named: Tensor) -> dict[str, Floats]:
    """What deletion takes from the target's probability, and what insertion brings it to.

    N each: the mean over SHARES and baselines. named: N×CELLS², the most is changed first.
    """
    images = trial.images.float()
    found = {kind: np.zeros(len(images)) for kind in KINDS}
    order = np.lexsort((trial.ties.numpy(), -named.numpy()), axis=1)
    for share in SHARES:
        mask = _mask(torch.from_numpy(order[:, : max(1, int(share * CELLS**2))]), images)
        for baseline in trial.baselines:
            p = partial(_certain, trial)
            found["deletion"] += trial.certain - p(torch.where(mask, baseline, images))
            found["insertion"] += p(torch.where(mask, images, baseline))
    return {kind: sums / (len(SHARES) * len(trial.baselines)) for kind, sums in found.items()}


def _mask(chosen: Tensor, images: Tensor) -> Tensor:
    """N×H×W×1: the pixels of these cells."""
    flat = torch.zeros(len(chosen), CELLS**2).scatter(1, chosen, 1.0)
    squares = flat.reshape(-1, 1, CELLS, CELLS)
    sides = images.shape[1:3]
    return nn.functional.interpolate(squares, sides, mode="nearest").permute(0, 2, 3, 1) > 0


def _certain(trial: Trial, images: Tensor) -> Floats:
    found = probabilities(trial.model, images).gather(1, trial.targets[:, None])
    return np.asarray(found[:, 0].double().numpy(), np.float64)


def correlation(some: Tensor, others: Tensor) -> Floats:
    """Spearman's of each row of two N×M; 0 where a row is constant, which is like nothing."""
    ranks = [stats.rankdata(rows.numpy(), axis=1) for rows in (some, others)]
    a, b = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    sizes = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.asarray((a * b).sum(1) / np.maximum(sizes, 1e-12), np.float64)


def agreement(maps: dict[str, Tensor]) -> list[dict[str, float | str]]:
    """The mean rank correlation of the maps of each two methods."""
    names = list(maps)
    return [
        {
            "one": one,
            "other": other,
            "correlation": round(
                float(correlation(cells(maps[one]), cells(maps[other])).mean()), 6
            ),
        }
        for i, one in enumerate(names)
        for other in names[i + 1 :]
    ]


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
