"""Charts of a search: its trials, what mattered to them, and what none of them beats."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from imagetrail.base.words import percent
from imagetrail.plots.style import BLUE, GREY, ORANGE, finish, save


def trials(rows: Sequence[Mapping[str, Any]], metric: str, path: Path | BinaryIO) -> None:
    """Each trial's score, in order, and the best so far. metric: what the score is called."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for state, colour in (("COMPLETE", BLUE), ("PRUNED", GREY)):
        mine = [row for row in rows if row["state"] == state]
        axes.scatter(
            [row["number"] for row in mine],
            [100 * row["value"] for row in mine],
            color=colour,
            label=state.lower(),
        )
    scores = [row["value"] if row["state"] == "COMPLETE" else 0.0 for row in rows]
    best = np.maximum.accumulate(scores)
    axes.step(
        [row["number"] for row in rows if best[row["number"]]],
        100 * best[best > 0],
        where="post",
        color=ORANGE,
        label="best so far",
    )
    axes.legend(frameon=False)
    finish(axes, "trial", f"valid {metric}, %")
    save(figure, path)


def importance(shares: Mapping[str, float], metric: str, path: Path | BinaryIO) -> None:
    """How much of the scores' variance each searched field explains, the most at the top."""
    figure = Figure(figsize=(9, 0.9 + 0.35 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = list(shares)[::-1]
    axes.barh(names, [100 * shares[name] for name in names], color=BLUE)
    axes.set_xlim(0, 100)
    label = f"variance of valid {metric} after the first rung that the field explains by itself, %"
    finish(axes, label, "")
    save(figure, path)


def parallel(
    rows: Sequence[Mapping[str, Any]], fields: Sequence[str], metric: str, path: Path | BinaryIO
) -> None:
    """Each trial as a line through its values, the better the darker; dotted if stopped early."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    scored = sorted(
        (row for row in rows if row["value"] == row["value"]), key=lambda row: float(row["value"])
    )
    columns = [*fields, "value"]
    places = np.array([_places(scored, name) for name in columns])
    for rank, row in enumerate(scored):
        shade = matplotlib.colormaps["viridis_r"](rank / max(1, len(scored) - 1))
        axes.plot(
            places[:, rank],
            color=shade,
            linestyle="-" if row["state"] == "COMPLETE" else ":",
            linewidth=1.3,
        )
    for x, name in enumerate(columns):
        _mark(axes, x, name, [row[name] for row in scored], places[x])
    axes.set_xticks(range(len(columns)), [*fields, f"valid {metric}"])
    axes.set_yticks([])
    axes.grid(axis="x", alpha=0.5)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    save(figure, path)


def _mark(
    axes: Axes, x: int, name: str, values: Sequence[Any], places: NDArray[np.float64]
) -> None:
    """Names an axis's values, or its ends where there are many."""
    marks = sorted(set(values))
    if len(marks) > 6 and not isinstance(marks[0], str):
        marks = [marks[0], marks[-1]]
    for mark in marks:
        text = mark if isinstance(mark, str) else f"{mark:.3g}"
        if name == "value":
            text = percent(mark, 1)
        place, offset = (x, places[values.index(mark)]), (3, 0)
        axes.annotate(text, place, offset, textcoords="offset points", fontsize=7, va="center")


def _places(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Where on an axis from 0 to 1 each row's value stands.

    Names are spread evenly, numbers that span more than a factor of 5 by their logarithm.
    """
    values = [row[name] for row in rows]
    if any(isinstance(value, str) for value in values):
        ordered = sorted(set(values), key=str)
        return [ordered.index(value) / max(1, len(ordered) - 1) for value in values]
    numbers = np.array(values, float)
    if name != "value" and numbers.min() > 0 and numbers.max() / numbers.min() > 5:
        numbers = np.log(numbers)
    return [float(number) for number in (numbers - numbers.min()) / (float(np.ptp(numbers)) or 1.0)]


def pareto(
    front: Sequence[Mapping[str, Any]], cost: str, metric: str, path: Path | BinaryIO
) -> None:
    """Score against cost of the trials that no other beats in both, with their numbers."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    x, y = [row[cost] for row in front], [100 * row["value"] for row in front]
    axes.plot(x, y, "o-", color=BLUE, drawstyle="steps-post")
    for row, place in zip(front, zip(x, y, strict=True), strict=True):
        axes.annotate(
            f"trial {row['number']}", place, (4, -10), textcoords="offset points", fontsize=7
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter())  # the usual one writes mathematics
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    finish(axes, cost.replace("_", " "), f"valid {metric}, %")
    save(figure, path)
