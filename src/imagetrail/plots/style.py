"""The one style of all pictures, which have the same bytes for the same figures.

Classes, arms and columns may have any name: no text is read as mathematics, and scripts that the
first font lacks are taken from the fonts of the machine.
"""

import warnings
from pathlib import Path
from typing import BinaryIO

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from imagetrail.base.terminal import say

BLUE, ORANGE, GREY, RED, BLACK = "#2563eb", "#ea580c", "#94a3b8", "#dc2626", "#0f172a"

FALLBACKS = (  # families with scripts that DejaVu Sans lacks, as Linux and macOS call them
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans GB",
    "Apple SD Gothic Neo",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Tamil",
    "Noto Sans Thai",
    "Noto Sans Ethiopic",
    "Noto Sans Symbols 2",
    "Unifont",
)


def _families() -> list[str]:
    manager = font_manager.fontManager
    known = {font.fname for font in manager.ttflist}
    for path in font_manager.findSystemFonts():  # those installed since matplotlib made its list
        if path not in known:
            try:
                manager.addfont(path)
            except (OSError, RuntimeError, ValueError):  # a font that it cannot read
                continue
    installed = set(manager.get_font_names())
    return ["DejaVu Sans", *(name for name in FALLBACKS if name in installed)]


matplotlib.rcParams["text.parse_math"] = False
matplotlib.rcParams["font.family"] = _families()


def finish(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def save(figure: Figure, path: Path | BinaryIO) -> None:
    """Writes a PNG; says what to do where no font has the characters of a name."""
    with warnings.catch_warnings(record=True) as told:
        warnings.filterwarnings("always", message="Glyph .* missing from font")
        figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
    if any("missing from font" in str(warning.message) for warning in told):
        remedy = "install one with them, such as Noto Sans CJK, and run the stage again"
        say(f"no font here has all characters of the names in a picture; {remedy}", error=True)
