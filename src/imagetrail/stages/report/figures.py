"""The charts of the page, each with what it shows in words, its table and the file it is from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imagetrail.base.criteria import Criterion
from imagetrail.base.words import percent
from imagetrail.stages.report import svg
from imagetrail.stages.report.svg import Frame

Row = Mapping[str, Any]
KINDS = {"win": "good", "helps": "good", "loss": "bad", "harms": "bad", "reference": "main"}


@dataclass(frozen=True)
class Figure:
    caption: str
    file: str  # below artifacts
    svg: str
    columns: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()  # none: the page has a longer table of its own behind it


@dataclass(frozen=True)
class Mark:
    """A row of a chart: a value with its interval, in percent."""

    name: str
    value: float
    low: float
    high: float
    kind: str = "main"  # a class of the page's style


def marked(marks: Sequence[Mark], x: str, description: str, *, zero: bool = False) -> str:
    """Values with their intervals one below another, the first on top. zero: draw the line at 0."""
    longest = max((len(mark.name) for mark in marks), default=0)
    left = min(190, max(50, svg.CHARACTER * longest + 14))
    ends = svg.around(
        [end for mark in marks for end in (mark.low, mark.high, 0 if zero else mark.value)]
    )
    frame = Frame(ends, (len(marks) - 0.4, -0.6), 60 + 24 * len(marks), left)
    parts = [svg.axes(frame, x, "")]
    if zero:
        parts.append(svg.line(frame, [(0, -0.6), (0, len(marks) - 0.4)], "zero"))
    for row, mark in enumerate(marks):
        told = f"{mark.name}: {mark.value:.2f} ({mark.low:.2f} … {mark.high:.2f})"
        parts.append(svg.label(frame, row, mark.name))
        parts.append(svg.bar(frame, (mark.low, mark.high), row, mark.kind))
        parts.append(svg.dot(frame, mark.value, row, mark.kind, told.replace("-", "−")))
    return svg.chart(frame, parts, description)


def history(rows: Sequence[Row], by: Criterion) -> list[Figure]:
    """Loss and score by epoch."""
    epochs = svg.around([row["epoch"] for row in rows], margin=0.02)
    losses = {"train": "quiet", "valid": "main"}
    values = [row[f"{part}_loss"] for part in losses for row in rows]
    frame = Frame(epochs, svg.around(values))
    parts = [svg.axes(frame, "epoch", "loss")]
    for part, kind in losses.items():
        parts.append(svg.line(frame, [(row["epoch"], row[f"{part}_loss"]) for row in rows], kind))
        for row in rows:
            told = f"epoch {row['epoch']:g}, {part} loss {row[f'{part}_loss']:.4f}"
            parts.append(svg.dot(frame, row["epoch"], row[f"{part}_loss"], kind, told))
    table = [
        (f"{row['epoch']:g}", f"{row['train_loss']:.4f}", f"{row['valid_loss']:.4f}")
        for row in rows
    ]
    drawn = svg.chart(frame, parts, f"Loss over {len(rows)} epochs of training")
    columns = ("epoch", "train loss", "valid loss")
    return [
        Figure(
            "Loss by epoch. Full: valid; hollow and dashed: train.",
            "train/history.csv",
            drawn,
            columns,
            table,
        ),
        _scores(rows, epochs, by),
    ]


def _scores(rows: Sequence[Row], epochs: tuple[float, float], by: Criterion) -> Figure:
    scores = [(row["epoch"], 100 * row[f"valid_{by}"]) for row in rows]
    frame = Frame(epochs, svg.around([score for _, score in scores]))
    parts = [svg.axes(frame, "epoch", f"valid {by.words}, %"), svg.line(frame, scores, "main")]
    parts += [
        svg.dot(frame, epoch, score, "main", f"epoch {epoch:g}: {score:.2f} %")
        for epoch, score in scores
    ]
    caption = f"{by.words.capitalize()} on valid by epoch."
    table = [(f"{epoch:g}", f"{score:.2f} %") for epoch, score in scores]
    drawn = svg.chart(frame, parts, f"{caption} Last: {scores[-1][1]:.2f} %")
    return Figure(caption, "train/history.csv", drawn, ("epoch", by.words), table)


def arms(rows: Sequence[Row], by: Criterion, reference: str) -> Figure:
    """How far each arm is ahead of the reference, with its interval."""
    marks = [
        Mark(
            f"{row['arm']}  {percent(row['mean'], 1)}",
            100 * row["difference"],
            100 * row["difference_low"],
            100 * row["difference_high"],
            KINDS.get(row["verdict"], "quiet"),
        )
        for row in rows
    ]
    caption = f"{by.words.capitalize()} on valid, and points more than {reference} (line at 0)."
    drawn = marked(marks, f"points more than {reference}, 95 %", caption, zero=True)
    return Figure(caption, "compare/ranking.json", drawn)


def recalls(rows: Sequence[Row], count: int = 12) -> Figure:
    """The classes that are recognised least often."""
    weakest = sorted(rows, key=lambda row: float(row["recall"]))[:count]
    marks = [
        Mark(row["class"], *(100 * row[f"recall{end}"] for end in ("", "_low", "_high")))
        for row in weakest
    ]
    which = "The classes" if len(rows) <= count else f"The {count} classes"
    caption = f"{which} that are recognised least often, with 95 % intervals."
    drawn = marked(marks, "of its test pictures recognised, %", caption)
    return Figure(caption, "evaluate/classes.json", drawn)


def robustness(rows: Sequence[Row]) -> Figure:
    """Top-1 under each corruption: its strengths from the strongest on the left."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row["corruption"], []).append(row)
    ends = (0.0, 100.0)
    frame = Frame(ends, (len(kinds) - 0.4, -0.6), 60 + 26 * len(kinds), 86)
    parts = [svg.axes(frame, "right, %", "")]
    for at, (name, mine) in enumerate(kinds.items()):
        values = [100 * float(row["top1"]) for row in mine]
        parts.append(svg.label(frame, at, name))
        parts.append(svg.bar(frame, (min(values), max(values)), at, "quiet"))
        for row, value in zip(mine, values, strict=True):
            told = f"{name}, strength {row['strength']}: {value:.1f} %"
            parts.append(
                svg.dot(frame, value, at, "main" if row["strength"] == "1" else "quiet", told)
            )
    caption = "Right on corrupted pictures: full, at the least strength; hollow, at greater ones."
    table = [
        (
            row["corruption"],
            row["strength"],
            percent(row["top1"]),
            f"{percent(row['low'])} – {percent(row['high'])}",
        )
        for row in rows
    ]
    columns = ("corruption", "strength", "top-1", "95 %")
    return Figure(
        caption, "evaluate/robustness.csv", svg.chart(frame, parts, caption), columns, table
    )
