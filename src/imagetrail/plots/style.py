"""The one style of all pictures, which have the same bytes for the same figures."""

from pathlib import Path
from typing import BinaryIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREY, GREEN, RED = "#2563eb", "#ea580c", "#94a3b8", "#16a34a", "#dc2626"


def finish(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def save(figure: Figure, path: Path | BinaryIO) -> None:
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
