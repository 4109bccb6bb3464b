"""Whether a method's maps are true to the network, by a trial."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from imagetrail.metrics.intervals import mean_interval
from imagetrail.stages.explain import attribution
from imagetrail.stages.explain.trial import KINDS, SHARES, Floats, Trial, cells, curves

EARLY = 3  # a method that is behind on one picture in so many is not tried on the others
ALIKE = 0.5  # rank correlation with the maps of a network of random weights: less, or it fails
FRESH = 12  # pictures of which that network's maps are looked at
ALPHA = 0.05  # that any method of no worth passes one of its comparisons
RIVALS = ("other", "random")  # that a method's own maps must beat: another picture's, and chance
COLUMNS = ("method", "kind", "share", "own", *RIVALS)  # of the curves
Figures = dict[str, float | bool]
Curves = dict[str, dict[str, Floats]]  # "own" or a rival, kind: N×SHARES
Row = dict[str, str | float]


@dataclass(frozen=True)
class Finding:
    """What a trial shows of a method."""

    maps: Tensor  # N×H×W, of the pictures that it was tried on
    figures: Figures
    rows: list[Row]  # the mean curves


def hold(trial: Trial) -> dict[str, Finding]:
    """Tries every method that has maps of this network.

    First on a part of the pictures. A method that is not ahead there in each comparison has failed,
    and is spared the others: that lets none pass which the whole sample would fail. Intervals are
    Student's over the pictures, and hold for all methods together (Bonferroni).
    """
    count = max(2, len(trial.images) // EARLY)
    first, rest = trial.part(slice(count)), trial.part(slice(count, None))
    early = {name: _maps(name, first) for name in attribution.METHODS}
    having = {name: maps for name, maps in early.items() if maps is not None}
    alpha = ALPHA / max(len(having), 1)
    found: dict[str, Finding] = {}
    for name, maps in having.items():
        tried, seen = first, compare(first, maps)
        if _ahead(seen) and len(rest.images):
            more = _maps(name, rest)
            assert more is not None
            others = compare(rest, more)
            maps, tried = torch.cat([maps, more]), trial
            seen = {
                whose: {
                    kind: np.concatenate([seen[whose][kind], others[whose][kind]]) for kind in KINDS
                }
                for whose in seen
            }
        found[name] = Finding(
            maps, judge(tried, name, maps, seen, alpha), [*_rows(tried, name, seen)]
        )
    return found


def _maps(name: str, trial: Trial) -> Tensor | None:
    return attribution.maps(name, trial.model, trial.images, trial.targets)


def compare(trial: Trial, maps: Tensor) -> Curves:
    """The curves of maps N×H×W, of each the next picture's map, and of random cells."""
    named = cells(maps)
    return {
        "own": curves(trial, named),
        "other": curves(trial, named.roll(1, 0)),
        "random": trial.by_chance,
    }


def _leads(seen: Curves) -> Iterator[tuple[str, Floats]]:
    """How far each picture's own map is ahead in each comparison, in probability."""
    for kind in KINDS:
        for rival in RIVALS:
            more = (seen["own"][kind] - seen[rival][kind]).mean(1)
            yield f"{kind}_over_{rival}", -more if kind == "deletion" else more


def _ahead(seen: Curves) -> bool:
    return all(lead.mean() > 0 for _, lead in _leads(seen))


def judge(trial: Trial, name: str, maps: Tensor, seen: Curves, alpha: float) -> Figures:
    """The figures of a method, and whether it passes.

    Where it is not ahead, random weights would say no more.
    """
    kept, given = (seen["own"][kind].mean() for kind in KINDS)
    figures: Figures = {"deletion": float(trial.certain.mean() - kept), "insertion": float(given)}
    for key, lead in _leads(seen):
        low, high = mean_interval(lead, alpha=alpha)
        figures |= {key: float(lead.mean()), f"{key}_low": low, f"{key}_high": high}
    passed = all(value > 0 for key, value in figures.items() if key.endswith("_low"))
    if _ahead(seen):
        alike = _alike(trial, name, maps)
        figures["randomised"] = float(alike.mean())
        figures["randomised_high"] = mean_interval(alike, alpha=alpha)[1]
        passed = passed and figures["randomised_high"] < ALIKE
    rounded = {key: round(value, 6) for key, value in figures.items()}
    return {"passed": passed, "pictures": len(trial.images)} | rounded


def _alike(trial: Trial, name: str, maps: Tensor) -> Floats:
    """The correlation of some of the maps with those of a network that has learned nothing."""
    few = slice(FRESH)
    untrained = attribution.maps(name, trial.random, trial.images[few], trial.targets[few])
    assert untrained is not None
    return correlation(cells(maps[few]), cells(untrained))


def _rows(trial: Trial, name: str, seen: Curves) -> Iterator[Row]:
    """The mean curves: what is left of the answer's probability, by whose map.

    A row for each kind and share, with those before any cell is changed and after all are.
    """
    whole, bare = trial.certain.mean(), trial.bare.mean()
    for kind, first, last in zip(KINDS, (whole, bare), (bare, whole), strict=True):
        means = {whose: (first, *found[kind].mean(0), last) for whose, found in seen.items()}
        for i, share in enumerate((0, *SHARES, 1)):
            row: Row = {"method": name, "kind": kind, "share": share}
            yield row | {whose: round(float(mean[i]), 6) for whose, mean in means.items()}


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
