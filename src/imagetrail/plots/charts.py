"""Charts of results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imagetrail.base.criteria import Criterion
from imagetrail.plots.style import BLACK, BLUE, GREY, ORANGE, RED, finish, save

ARROW = "→"  # of a mistake: the label → the answer
COLOURS = {  # of verdicts; also the colour-blind tell them apart
    "win": BLUE,
    "helps": BLUE,
    "loss": ORANGE,
    "harms": ORANGE,
    "tie": GREY,
    "no effect": GREY,
    "reference": BLACK,
}


def intervals(
    arms: Sequence[Mapping[str, Any]],
    path: Path | BinaryIO,
    *,
    by: Criterion = Criterion.TOP1,
) -> None:
    """Each arm with 95 % intervals, best at the top: its mean, and its difference."""
    figure = Figure(figsize=(9, 0.9 + 0.4 * len(arms)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    right.axvline(0, color=COLOURS["reference"], linewidth=1)
    for row, arm in enumerate(reversed(arms)):
        colour = COLOURS[arm["verdict"]]
        for axes, middle, prefix in ((left, "mean", ""), (right, "difference", "difference_")):
            if axes is left or arm["verdict"] != "reference":
                ends = [100 * arm[f"{prefix}low"], 100 * arm[f"{prefix}high"]]
                axes.plot(ends, [row, row], color=colour, linewidth=3, alpha=0.5)
                axes.plot(100 * arm[middle], row, "o", color=colour)
    left.set_yticks(
        range(len(arms)), [f"{arm['arm']}  ({arm['verdict']})" for arm in reversed(arms)]
    )
    (reference,) = (arm["arm"] for arm in arms if arm["verdict"] == "reference")
    finish(left, f"valid {by.words}, %", "")
    finish(right, f"points more than {reference}, paired by seed", "")
    save(figure, path)


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
    save(figure, path)


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
    finish(axes, "confidence", "accuracy")
    save(figure, path)


def coverage(points: Sequence[Mapping[str, float]], path: Path | BinaryIO) -> None:
    """Accuracy among the answers, when only the most confident share of images is answered."""
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [100 * point["coverage"] for point in points],
        [100 * point["top1"] for point in points],
        color=BLUE,
    )
    finish(axes, "images answered, %, most confident first", "top-1 among them, %")
    save(figure, path)


def gallery(
    images: Sequence[NDArray[np.uint8]],
    captions: Sequence[str],
    path: Path | BinaryIO,
    *,
    columns: int = 8,
) -> None:
    """Pictures H×W×C, each under its caption of one or more lines; there may be none."""
    rows = max(1, -(-len(images) // columns))
    height = 1.15 + 0.1 * "".join(captions[:1]).count("\n")  # of a cell, which is 1 wide
    figure = Figure(figsize=(1.2 * columns, 1.2 * height * rows))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        _tile(axes, image, caption, left=i % columns, bottom=(i // columns + 1) * height)
    axes.set(xlim=(0, columns), ylim=(height * rows, 0))
    if not len(images):
        axes.text(0.1, height / 2, "none", va="center")
    save(figure, path)


def _tile(
    axes: Axes, image: NDArray[np.uint8], caption: str, *, left: float, bottom: float
) -> None:
    """A picture in a square of side 1, on axes that point down, and its caption above."""
    extent = (left + 0.03, left + 0.97, bottom - 0.03, bottom - 0.97)
    axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto")
    axes.text(left + 0.5, bottom - 1, caption, fontsize=6.5, ha="center", va="bottom")


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
        plain.set_title(title, fontsize=7, color=RED if ARROW in title else "black", loc="left")
        _mark(marked, image, heat)
    save(figure, path)


def compared(
    images: NDArray[np.uint8],
    titles: Sequence[str],
    looks: Sequence[tuple[Sequence[str], NDArray[np.float32]]],
    path: Path | BinaryIO,
) -> None:
    """Each picture, and beside it the same in grey under the saliency map of each of some models.

    looks: of a model its titles and maps N×H×W, one a picture.
    """
    across, columns = 2, 1 + len(looks)
    rows = -(-len(images) // across)
    figure = Figure(figsize=(9, 9 / (across * columns) * 1.2 * rows), layout="constrained")
    grid = figure.subplots(rows, across * columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for i, (image, title) in enumerate(zip(images, titles, strict=True)):
        cells = grid[i // across, i % across * columns :][:columns]
        cells[0].imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        cells[0].set_title(title, fontsize=7, loc="left")
        for axes, (names, maps) in zip(cells[1:], looks, strict=True):
            axes.set_title(names[i], fontsize=7, loc="left")
            _mark(axes, image, maps[i])
    save(figure, path)


def _mark(axes: Axes, image: NDArray[np.uint8], heat: NDArray[np.float32]) -> None:
    axes.imshow(image.mean(2), cmap="gray", vmin=0, vmax=255)
    axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.6)


def looked_at(
    image: NDArray[np.uint8], fall: NDArray[np.float64], title: str, path: Path | BinaryIO
) -> None:
    """A picture H×W×C, and beside it in grey the fall H×W in probability that each place is worth.

    The scale begins at 0 and ends at the largest fall, so that a faint map looks like one.
    """
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    plain, marked = figure.subplots(1, 2)
    for axes in (plain, marked):
        axes.axis("off")
    plain.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
    plain.set_title(title, fontsize=10, loc="left")
    marked.imshow(image.mean(2), cmap="gray", vmin=0, vmax=255)
    top = max(100 * float(fall.max()), 0.1)
    heat = marked.imshow(100 * fall, cmap="inferno", vmin=0, vmax=top, alpha=0.6)
    marked.set_title("where it looked", fontsize=10, loc="left")
    figure.colorbar(heat, ax=marked, label="points of probability lost\nwhen this place is blurred")
    save(figure, path)
