"""Pictures of results, all in one style, each with the same bytes for the same figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

BLUE, ORANGE, GREY, GREEN, RED = "#2563eb", "#ea580c", "#94a3b8", "#16a34a", "#dc2626"
VERDICTS = {
    "win": GREEN,
    "helps": GREEN,
    "loss": RED,
    "harms": RED,
    "tie": GREY,
    "no effect": GREY,
    "reference": BLUE,
}


def history(rows: Sequence[Mapping[str, float]], path: Path | BinaryIO) -> None:
    """Loss and top-1 accuracy by epoch."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["train_loss"] for row in rows], color=GREY, label="train")
    left.plot(epochs, [row["valid_loss"] for row in rows], color=BLUE, label="valid")
    left.legend(frameon=False)
    right.plot(
        epochs, [100 * row["valid_top1"] for row in rows], color=BLUE, marker="o", markersize=3
    )
    _finish(left, "epoch", "loss")
    _finish(right, "epoch", "valid top-1, %")
    _save(figure, path)


def trials(rows: Sequence[Mapping[str, Any]], path: Path | BinaryIO) -> None:
    """Each trial's score, in order, and the best so far."""
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
    _finish(axes, "trial", "valid top-1, %")
    _save(figure, path)


def importance(shares: Mapping[str, float], path: Path | BinaryIO) -> None:
    """How much of the scores' variance each searched field explains, the most at the top."""
    figure = Figure(figsize=(9, 0.9 + 0.35 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = list(shares)[::-1]
    axes.barh(names, [100 * shares[name] for name in names], color=BLUE)
    axes.set_xlim(0, 100)
    _finish(
        axes,
        "variance of valid top-1 after the first rung that the field explains by itself, %",
        "",
    )
    _save(figure, path)


def parallel(
    rows: Sequence[Mapping[str, Any]], fields: Sequence[str], path: Path | BinaryIO
) -> None:
    """Each trial as a line through its values, the better the darker; trials stopped early are dotted."""
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
        values = [row[name] for row in scored]
        marks = (
            sorted(set(values))
            if len(set(values)) <= 6 or isinstance(values[0], str)
            else [min(values), max(values)]
        )
        for mark in marks:
            place = places[x, values.index(mark)]
            text = (
                f"{100 * mark:.1f} %"
                if name == "value"
                else str(mark)
                if isinstance(mark, str)
                else f"{mark:.3g}"
            )
            axes.annotate(
                text,
                (x, place),
                (3, 0),
                textcoords="offset points",
                fontsize=7,
                va="center",
                parse_math=False,
            )
    axes.set_xticks(range(len(columns)), [*fields, "valid top-1"])
    axes.set_yticks([])
    axes.grid(axis="x", alpha=0.5)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    _save(figure, path)


def _places(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Where on an axis from 0 to 1 each row's value stands: names evenly, numbers that span decades by their logarithm."""
    values = [row[name] for row in rows]
    if any(isinstance(value, str) for value in values):
        ordered = sorted(set(values), key=str)
        return [ordered.index(value) / max(1, len(ordered) - 1) for value in values]
    numbers = np.array(values, float)
    if name != "value" and numbers.min() > 0 and numbers.max() / numbers.min() > 5:
        numbers = np.log(numbers)
    return [float(number) for number in (numbers - numbers.min()) / (float(np.ptp(numbers)) or 1.0)]


def pareto(front: Sequence[Mapping[str, Any]], cost: str, path: Path | BinaryIO) -> None:
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
    _finish(axes, cost.replace("_", " "), "valid top-1, %")
    _save(figure, path)


def intervals(arms: Sequence[Mapping[str, Any]], path: Path | BinaryIO) -> None:
    """Each arm with 95 % intervals, best at the top: its mean on the left, on the right what decides, its difference."""
    figure = Figure(figsize=(9, 0.9 + 0.4 * len(arms)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    right.axvline(0, color=VERDICTS["reference"], linewidth=1)
    for row, arm in enumerate(reversed(arms)):
        colour = VERDICTS[arm["verdict"]]
        for axes, middle, prefix in ((left, "mean", ""), (right, "difference", "difference_")):
            if axes is left or arm["verdict"] != "reference":
                ends = [100 * arm[f"{prefix}low"], 100 * arm[f"{prefix}high"]]
                axes.plot(ends, [row, row], color=colour, linewidth=3, alpha=0.5)
                axes.plot(100 * arm[middle], row, "o", color=colour)
    left.set_yticks(
        range(len(arms)), [f"{arm['arm']}  ({arm['verdict']})" for arm in reversed(arms)]
    )
    for label in left.get_yticklabels():
        label.set_parse_math(False)  # an arm may have any name
    (reference,) = (arm["arm"] for arm in arms if arm["verdict"] == "reference")
    _finish(left, "valid top-1, %", "")
    _finish(right, f"points more than {reference}, paired by seed".replace("$", r"\$"), "")
    _save(figure, path)


def confusion(table: NDArray[np.int64], names: Sequence[str], path: Path | BinaryIO) -> None:
    """Share of each class (rows) that is taken for each (columns)."""
    side = max(5.0, 0.55 * len(names) + 2)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    if len(names) <= 30:
        for row, column in np.argwhere(table > 0):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(
                column,
                row,
                str(table[row, column]),
                ha="center",
                va="center",
                fontsize=8,
                color=colour,
            )
    _save(figure, path)


def reliability(
    curves: Mapping[str, Sequence[tuple[float, float, float]]], path: Path | BinaryIO
) -> None:
    """Accuracy against confidence; a calibrated model stands on the diagonal."""
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    for (name, bins), colour in zip(curves.items(), (ORANGE, BLUE), strict=True):
        axes.plot(
            [confidence for _, _, confidence in bins],
            [accuracy for _, accuracy, _ in bins],
            "o-",
            color=colour,
            label=name,
            markersize=4,
        )
    axes.legend(frameon=False)
    _finish(axes, "confidence", "accuracy")
    _save(figure, path)


def coverage(points: Sequence[Mapping[str, float]], path: Path | BinaryIO) -> None:
    """Accuracy among the answers given, when only the most confident share of the images is answered."""
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [100 * point["coverage"] for point in points],
        [100 * point["top1"] for point in points],
        color=BLUE,
    )
    _finish(axes, "images answered, %, most confident first", "top-1 among them, %")
    _save(figure, path)


def gallery(
    images: Sequence[NDArray[np.uint8]],
    captions: Sequence[str],
    path: Path | BinaryIO,
    *,
    columns: int = 8,
) -> None:
    """Pictures H×W×C, each under its caption of one or more lines; there may be none."""
    rows, high = (
        max(1, -(-len(images) // columns)),
        1.15 + 0.1 * "".join(captions[:1]).count("\n"),
    )  # of a cell 1 wide
    figure = Figure(figsize=(1.2 * columns, 1.2 * high * rows))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, columns), ylim=(high * rows, 0))
    axes.axis("off")
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, bottom = i % columns, (i // columns + 1) * high
        extent = (left + 0.03, left + 0.97, bottom - 0.03, bottom - 0.97)
        axes.imshow(
            image.squeeze(),
            cmap="gray",
            vmin=0,
            vmax=255,
            extent=extent,
            aspect="auto",
            origin="lower",
        )
        # a class may have any name, so no mathematics in it
        axes.text(
            left + 0.5,
            bottom - 1,
            caption,
            fontsize=6.5,
            ha="center",
            va="bottom",
            parse_math=False,
        )
    axes.set(xlim=(0, columns), ylim=(high * rows, 0))
    if not len(images):
        axes.text(0.1, high / 2, "none", va="center")
    _save(figure, path)


def saliency(
    images: NDArray[np.uint8],
    maps: NDArray[np.float32],
    titles: Sequence[str],
    path: Path | BinaryIO,
) -> None:
    """Each picture, and beside it the same in grey under its saliency map."""
    pairs = 4
    rows = -(-len(images) // pairs)
    figure = Figure(figsize=(9, 1.35 * rows), layout="constrained")
    grid = figure.subplots(rows, 2 * pairs, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for i, (image, heat, title) in enumerate(zip(images, maps, titles, strict=True)):
        plain, marked = grid[i // pairs, 2 * (i % pairs)], grid[i // pairs, 2 * (i % pairs) + 1]
        plain.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        plain.set_title(title, fontsize=7, color=RED if ", not " in title else "black", loc="left")
        marked.imshow(image.mean(2), cmap="gray", vmin=0, vmax=255)
        marked.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.6)
    _save(figure, path)


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _save(figure: Figure, path: Path | BinaryIO) -> None:
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
