"""The picture of photos.py, of the figures that are kept."""

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.ticker import LogLocator, NullFormatter

from imagetrail.base import files

# Ours by what learns: how the names of its rungs begin, its line and its marker.
OURS = {
    "ours: the head": (("brief", "frozen"), "-", "o"),
    "ours: all layers": (("tuned",), "--", "^"),
    "ours: from scratch": (("scratch",), ":", "s"),
}


def picture(folder: Path, every: Iterable[str], peers: Collection[str]) -> None:
    """Top-1 against minutes, a panel a row: ours lines through its rungs, the peers a point each.

    every: the names of all rows, in their order; those that photos.json has are drawn.
    """
    known = json.loads((folder / "photos.json").read_text())["figures"]
    rows = [name for name in every if name in known]
    wide = min(3, len(rows))
    high = -(-len(rows) // wide)
    sheet, panels = plt.subplots(
        high, wide, figsize=(5 * wide, 4 * high), layout="constrained", squeeze=False
    )
    for panel in panels.flat[len(rows) :]:
        panel.set_axis_off()
    marks: dict[str, Artist] = {}
    for panel, name in zip(panels.flat, rows, strict=False):
        sides = known[name]["sides"]
        for number, side in enumerate(peers, 1):
            if side in sides:
                _mark(panel, [sides[side]], label=side, color=f"C{number}", marker="o")
        for label, (beginnings, line, marker) in OURS.items():
            rungs = [sides[side] for side in sides if side.startswith(beginnings)]
            rungs.sort(key=lambda side: mean(side["seconds"]))
            if rungs:
                style = {"color": "black", "linestyle": line, "marker": marker, "markersize": 4}
                _mark(panel, rungs, label=label, **style)
        panel.set(title=name, xscale="log", xlabel="minutes", ylabel="top-1 on test")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3, which="both")
        handles, labels = panel.get_legend_handles_labels()
        marks |= dict(zip(labels, handles, strict=True))
    # some sides are in one row only
    sheet.legend(marks.values(), marks, loc="outside upper center", ncols=len(marks))
    with files.replacing(folder / "photos.png") as temporary:
        sheet.savefig(temporary, dpi=100, format="png", metadata={"Software": None})


def _mark(panel: plt.Axes, sides: Sequence[dict[str, list[float]]], **style: Any) -> None:
    minutes = [mean(side["seconds"]) / 60 for side in sides]
    tops = [side["top1"] for side in sides]
    spread = [stdev(top) if len(top) > 1 else 0.0 for top in tops]
    panel.errorbar(minutes, [mean(top) for top in tops], spread, capsize=2, **style)
