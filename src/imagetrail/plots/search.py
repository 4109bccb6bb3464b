"""What a search has found, from its files: which fields mattered, and what no trial beats."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from imagetrail.base.criteria import Criterion
from imagetrail.base.files import read_csv, read_json
from imagetrail.plots import search_charts

Draw = Callable[[Path | BinaryIO], None]

GROUPS = 3  # of numbers, by size
OUTCOME = ("number", "state", "epochs", "value")  # columns that say how a trial went


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows of trials.csv; a trial without a score has the value NaN."""
    rows = _rows(folder / "trials.csv")
    for row in rows:
        row["value"] = float("nan") if row["value"] == "" else row["value"]
    return rows


def pictures(folder: Path, by: Criterion = Criterion.TOP1) -> dict[str, Draw]:
    """Pictures of a search by name, each to be drawn into a file. by: what it maximised."""
    rows = read(folder)
    names, scored = fields(rows, folder), [row for row in rows if row["value"] == row["value"]]
    shares = importance(rows, first_scores(folder, by), names)
    found: dict[str, Draw] = {
        "trials": partial(search_charts.trials, rows, by.words),
        "importance": partial(search_charts.importance, shares, by.words),
        "parallel": partial(search_charts.parallel, scored, list(shares), by.words),
    }
    if len(best := front(folder)) > 1:  # one trial that is best in both is no curve
        cost = next(name for name in best[0] if name not in OUTCOME)
        found["pareto"] = partial(search_charts.pareto, best, cost, by.words)
    return found


def fields(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    """The columns that are fields of the recipe and were varied."""
    recipe = read_json(folder / "recipe.json")
    return [
        name
        for name in rows[0]
        if name in recipe and name not in OUTCOME and len({row[name] for row in rows}) > 1
    ]


def first_scores(folder: Path, by: Criterion = Criterion.TOP1) -> dict[int, float]:
    """Each trial's score on valid after the first rung, where all have been; by number."""
    curves = read_csv(folder / "history.csv")
    rung = min(int(row["epochs"]) for row in read_csv(folder / "trials.csv") if int(row["epochs"]))
    return {
        int(row["number"]): float(row[f"valid_{by}"]) for row in curves if int(row["epoch"]) == rung
    }


def importance(
    rows: Sequence[Mapping[str, Any]], scores: Mapping[int, float], names: Sequence[str]
) -> dict[str, float]:
    """The share of the scores' variance that each field explains by itself, the largest first.

    Epsilon squared of a one-way analysis of variance (Kelley 1935): about 0 for a field without
    effect, however many values it has. Numbers are taken in groups of equal size.
    """
    scored = [row for row in rows if row["number"] in scores]
    values = np.array([scores[row["number"]] for row in scored])
    found = {name: _explained(values, _groups([row[name] for row in scored])) for name in names}
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def front(folder: Path) -> list[dict[str, Any]]:
    """The finished trials that no other beats in both score and cost; none if it is not written.

    Of the costs the first column is the one that they are compared by.
    """
    file = folder / "pareto.csv"
    return _rows(file) if file.exists() else []


def _rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file, numbers as numbers."""
    return [{name: _number(value) for name, value in row.items()} for row in read_csv(file)]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _groups(values: Sequence[Any]) -> list[Any]:
    if len(set(values)) <= GROUPS or any(isinstance(value, str) for value in values):
        return list(values)
    ranks = np.argsort(np.argsort(np.array(values, float), kind="stable"), kind="stable")
    return list(ranks * GROUPS // len(values))


def _explained(values: np.ndarray[Any, Any], groups: Sequence[Any]) -> float:
    kinds = sorted(set(groups), key=str)
    left, total = len(values) - len(kinds), float(((values - values.mean()) ** 2).sum())
    if left < 1 or not total:
        return 0.0
    members = [values[[group == kind for group in groups]] for kind in kinds]
    within = sum(float(((member - member.mean()) ** 2).sum()) for member in members)
    return max(0.0, 1 - (within / left) / (total / (len(values) - 1)))
