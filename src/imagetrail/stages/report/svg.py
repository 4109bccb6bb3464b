"""Charts as SVG that takes its colours from the page, so that they suit light and dark.

A page scales them to its width; their text is that of the page, so any script is shown. Every
mark has a title, which a browser shows under the pointer.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 420  # of every chart, in units that are pixels where the page is wide enough
CHARACTER = 8  # units, about, of a letter


@dataclass(frozen=True)
class Frame:
    """The area of a chart that values are drawn in, and how they go to places on it."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: float = 250
    left: float = 50
    bottom: float = 42
    log: bool = False  # whether x is

    def place(self, x: float, y: float) -> tuple[float, float]:
        """In units from the left and from the top."""
        share_x = _share(math.log(x), *map(math.log, self.x)) if self.log else _share(x, *self.x)
        right, top = WIDTH - 14, 10
        return (
            self.left + share_x * (right - self.left),
            self.height - self.bottom - _share(y, *self.y) * (self.height - self.bottom - top),
        )


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high != low else 0.5


def around(values: Iterable[float], *, margin: float = 0.06) -> tuple[float, float]:
    """Ends that hold all values, with a margin; apart even where all values are equal."""
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return low - room, high + room


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two ends, about `count` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def chart(frame: Frame, parts: Iterable[str], description: str) -> str:
    """The whole: `description` is what a screen reader says."""
    inside = "".join(parts)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {frame.height:g}" role="img" '
        f'aria-label="{escape(description)}">{inside}</svg>'
    )


def axes(frame: Frame, x: str, y: str, *, marks: Sequence[float] | None = None) -> str:
    """Both axes with round numbers and names. marks: those of x, in place of round numbers."""
    bottom = frame.height - frame.bottom
    found = []
    for value in ticks(*frame.y) if y else []:
        _, at = frame.place(frame.x[0], value)
        found.append(f'<path class="grid" d="M{frame.left:g} {at:.1f}H{WIDTH - 14}"/>')
        found.append(_text(frame.left - 6, at + 4, number(value), anchor="end"))
    for value in ticks(*frame.x) if marks is None else marks:
        at, _ = frame.place(value, frame.y[0])
        found.append(f'<path class="grid" d="M{at:.1f} 10V{bottom:g}"/>')
        found.append(_text(at, bottom + 16, number(value), anchor="middle"))
    found.append(_text((frame.left + WIDTH - 14) / 2, frame.height - 6, x, anchor="middle"))
    if y:
        middle = (10 + bottom) / 2
        turned = f'transform="rotate(-90 12 {middle:g})"'
        found.append(_text(12, middle, y, anchor="middle", more=turned))
    return "".join(found)


def number(value: float) -> str:
    """A number on an axis: 1.2M, 0.05, −3."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def line(frame: Frame, points: Iterable[tuple[float, float]], kind: str) -> str:
    """A line through points; kind: a class of the page's style."""
    places = [frame.place(*point) for point in points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return f'<path class="line {kind}" d="M{path}"/>' if places else ""


def dot(frame: Frame, x: float, y: float, kind: str, title: str) -> str:
    left, top = frame.place(x, y)
    shape = f'<circle class="dot {kind}" cx="{left:.1f}" cy="{top:.1f}" r="4">'
    return f"{shape}<title>{escape(title)}</title></circle>"


def bar(frame: Frame, ends: tuple[float, float], y: float, kind: str, *, thick: float = 3) -> str:
    """A horizontal bar between two values of x."""
    (left, top), (right, _) = frame.place(ends[0], y), frame.place(ends[1], y)
    start = f'<rect class="bar {kind}" x="{left:.1f}" y="{top - thick / 2:.1f}"'
    return f'{start} width="{max(1.0, right - left):.1f}" height="{thick:g}" rx="1.5"/>'


def label(frame: Frame, y: float, words: str) -> str:
    """The name of a row, cut to the room that there is on the left."""
    _, top = frame.place(frame.x[0], y)
    most = int((frame.left - 10) / CHARACTER)
    shown = words if len(words) <= most else f"{words[: most - 1]}…"
    return _text(frame.left - 8, top + 4, shown, anchor="end", title=words)


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", more: str = "", title: str = ""
) -> str:
    told = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{told}{escape(words)}</text>'
    )
