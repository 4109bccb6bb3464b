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
COLUMNS = ("method", "kind", "share", "own", "other", "random")  # of the curves
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
    bare: Floats  # N: the probabilities of these, the mean over both
    ties: Tensor  # N×CELLS², random: which of two equal cells comes first


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


def judge(
    trial: Trial, maps: dict[str, Tensor]
) -> tuple[dict[str, Figures], list[dict[str, str | float]]]:
    """What is found of each method's maps N×H×W, and whether it passes; the curves behind it.

    Intervals are Student's over the pictures, and hold for all methods together (Bonferroni).
    """
    alpha = ALPHA / max(len(maps), 1)
    by_chance = curves(trial, trial.ties.roll(1, 0))
    found: dict[str, Figures] = {}
    rows: list[dict[str, str | float]] = []
    for name, given in maps.items():
        named = cells(given)
        by = {"own": curves(trial, named), "other": curves(trial, named.roll(1, 0))}
        by["random"] = by_chance
        found[name] = _judged(trial, name, named, by, alpha)
        rows += _rows(trial, name, by)
    return found, rows


def _judged(
    trial: Trial, name: str, named: Tensor, by: dict[str, dict[str, Floats]], alpha: float
) -> Figures:
    figures: Figures = {}
    for kind in KINDS:
        mine = by["own"][kind].mean(1)
        figures[kind] = float((trial.certain - mine if kind == "deletion" else mine).mean())
        for rival in ("other", "random"):
            ahead = mine - by[rival][kind].mean(1)
            ahead = -ahead if kind == "deletion" else ahead
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


def _rows(
    trial: Trial, name: str, by: dict[str, dict[str, Floats]]
) -> list[dict[str, str | float]]:
    """Of the mean curves a row a kind and share, with what is there before any cell and after all.

    In each what the answer's probability is by the method's own maps and by what they are compared
    with.
    """
    whole, bare = trial.certain.mean(), trial.bare.mean()
    rows: list[dict[str, str | float]] = []
    for kind, first, last in zip(KINDS, (whole, bare), (bare, whole), strict=True):
        for i, share in enumerate((0, *SHARES, 1)):
            row: dict[str, str | float] = {"method": name, "kind": kind, "share": share}
            for whose, found in by.items():
                row[whose] = round(float((first, *found[kind].mean(0), last)[i]), 6)
            rows.append(row)
    return rows


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
