"""The charts of the page, each with what it shows in words, its table and the file it is from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from imagetrail.base.criteria import Criterion
from imagetrail.stages.report import svg
from imagetrail.stages.report.svg import Frame
from imagetrail.stages.report.words import between, percent, points, short, thousands

Row = Mapping[str, Any]
KINDS = {"win": "good", "helps": "good", "loss": "bad", "harms": "bad", "reference": "main"}
PARTS = 10  # groups of equal size that the confidence is cut into


@dataclass(frozen=True)
class Figure:
    caption: str
    file: str  # below artifacts
    svg: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


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
    left = min(170, max(50, svg.CHARACTER * longest + 14))
    ends = svg.around([end for mark in marks for end in (mark.low, mark.high, 0 if zero else mark.value)])
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
    epochs = svg.around([row["epoch"] for row in rows], margin=0)
    losses = {"train": "quiet", "valid": "main"}
    values = [row[f"{part}_loss"] for part in losses for row in rows]
    frame = Frame(epochs, svg.around(values))
    parts = [svg.axes(frame, "epoch", "loss"), svg.legend(losses.items(), at=(330, 24))]
    for part, kind in losses.items():
        parts.append(svg.line(frame, [(row["epoch"], row[f"{part}_loss"]) for row in rows], kind))
        for row in rows:
            told = f"epoch {row['epoch']:g}, {part} loss {row[f'{part}_loss']:.4f}"
            parts.append(svg.dot(frame, row["epoch"], row[f"{part}_loss"], kind, told))
    table = [
        (f"{row['epoch']:g}", f"{row['train_loss']:.4f}", f"{row['valid_loss']:.4f}") for row in rows
    ]
    drawn = svg.chart(frame, parts, f"Loss over {len(rows)} epochs of training")
    columns = ("epoch", "train loss", "valid loss")
    return [
        Figure("Loss by epoch.", "train/history.csv", drawn, columns, table),
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
            f"{row['arm']}  {100 * row['mean']:.1f} %",
            100 * row["difference"],
            100 * row["difference_low"],
            100 * row["difference_high"],
            KINDS.get(row["verdict"], "quiet"),
        )
        for row in rows
    ]
    caption = f"{by.words.capitalize()} on valid, and points more than {reference} (line at 0)."
    drawn = marked(marks, f"points more than {reference}, 95 %", caption, zero=True)
    table = [
        (
            row["arm"],
            percent(row["mean"]),
            points(row["difference"]),
            between(row["difference_low"], row["difference_high"]),
            row["verdict"],
        )
        for row in rows
    ]
    columns = ("arm", by.words, f"against {reference}, points", "95 %", "verdict")
    return Figure(caption, "compare/ranking.json", drawn, columns, table)


def trials(rows: Sequence[Row], by: Criterion, fields: Sequence[str]) -> Figure:
    """Each trial's score, in order; the best one is marked."""
    scored = [row for row in rows if row["value"] == row["value"]]
    values = [100 * row["value"] for row in scored]
    frame = Frame(svg.around([row["number"] for row in scored]), svg.around(values))
    parts = [svg.axes(frame, "trial", f"valid {by.words}, %")]
    for row in scored:
        kind = "main" if row["state"] == "COMPLETE" else "quiet"
        chosen = ", ".join(f"{name} {short(row[name])}" for name in fields)
        told = f"trial {row['number']}, {row['state'].lower()}: {percent(row['value'])}; {chosen}"
        parts.append(svg.dot(frame, row["number"], 100 * row["value"], kind, told))
    parts.append(svg.legend([("complete", "main"), ("stopped early", "quiet")], at=(290, 190)))
    caption = f"Every trial in the order it was asked for: {by.words} on valid."
    table = [
        (str(row["number"]), row["state"].lower(), str(row["epochs"]), percent(row["value"]))
        + tuple(short(row[name]) for name in fields)
        for row in scored
    ]
    columns = ("trial", "state", "epochs", by.words, *fields)
    drawn = svg.chart(frame, parts, caption)
    return Figure(caption, "tune/trials.csv", drawn, columns, table)


def importance(shares: Mapping[str, float]) -> Figure:
    """How much of the scores' variance each searched field explains, the most on top."""
    marks = [Mark(name, 100 * share, 0, 100 * share) for name, share in shares.items()]
    caption = "What each searched field explains by itself of the score after the first rung."
    drawn = marked(marks, "variance explained, %", caption, zero=True)
    table = [(name, f"{100 * share:.1f} %") for name, share in shares.items()]
    return Figure(caption, "tune/history.csv", drawn, ("field", "variance explained"), table)


def pareto(front: Sequence[Row], by: Criterion) -> Figure:
    """Score against cost of the trials that no other beats in both."""
    cost = next(name for name in front[0] if name not in ("number", "state", "epochs", "value"))
    ends = [min(row[cost] for row in front) * 0.9, max(row[cost] for row in front) * 1.1]
    frame = Frame((ends[0], ends[1]), svg.around([100 * row["value"] for row in front]), log=True)
    words = cost.replace("_", " ")
    marks = sorted({row[cost] for row in front})[:: max(1, len(front) // 4)]
    parts = [svg.axes(frame, words, f"valid {by.words}, %", marks=marks)]
    parts.append(svg.line(frame, [(row[cost], 100 * row["value"]) for row in front], "main"))
    for row in front:
        told = f"trial {row['number']}: {percent(row['value'])} at {svg.number(row[cost])}"
        parts.append(svg.dot(frame, row[cost], 100 * row["value"], "main", told))
    caption = "Score against cost of the trials that no other beats in both."
    table = [(str(row["number"]), percent(row["value"]), thousands(row[cost])) for row in front]
    drawn = svg.chart(frame, parts, caption)
    return Figure(caption, "tune/pareto.csv", drawn, ("trial", by.words, words), table)


def coverage(rows: Sequence[Row]) -> Figure:
    """Accuracy among the answers, when only the most confident are given."""
    line = [(100 * float(row["coverage"]), 100 * float(row["top1"])) for row in rows]
    frame = Frame((0, 100), svg.around([top1 for _, top1 in line]))
    parts = [svg.axes(frame, "answered, %, surest first", "right among them, %")]
    parts.append(svg.line(frame, line, "main"))
    some = rows[len(rows) // 20 :: max(1, len(rows) // 10)]
    for row in some:
        told = f"{_surest(row)}: {percent(row['top1'])} right"
        place = (100 * float(row["coverage"]), 100 * float(row["top1"]))
        parts.append(svg.dot(frame, *place, "main", told))
    caption = "How often it is right if it answers only where it is surest."
    table = [(_whole(row["coverage"]), percent(row["threshold"]), percent(row["top1"])) for row in some]
    columns = ("answered", "least confidence", "right among them")
    return Figure(caption, "evaluate/coverage.csv", svg.chart(frame, parts, caption), columns, table)


def _surest(row: Row) -> str:
    return f"the surest {_whole(row['coverage'])}"


def _whole(share: Any) -> str:
    return f"{100 * float(share):.0f} %"


def reliability(rows: Sequence[Row]) -> Figure:
    """Accuracy against confidence, in groups of equal size, from the curve of coverage."""
    steps = [(0.0, 0.0, 0)] + [
        (float(row["coverage"]), float(row["coverage"]) * float(row["top1"]), i + 1)
        for i, row in enumerate(rows)
    ]
    cuts = steps[:: max(1, len(rows) // PARTS)]
    found = []
    for (start, before, first), (end, after, last) in pairwise(cuts):
        mean = sum(float(row["threshold"]) for row in rows[first:last]) / (last - first)
        found.append((100 * mean, 100 * (after - before) / (end - start)))
    ends = svg.around([value for pair in found for value in pair])
    frame = Frame(ends, ends)
    low, high = ends
    parts = [svg.axes(frame, "how sure it is, %", "how often it is right, %")]
    parts += [svg.line(frame, [(low, low), (high, high)], "zero"), svg.line(frame, found, "main")]
    parts += [
        svg.dot(frame, sure, right, "main", f"{sure:.1f} % sure, {right:.1f} % right")
        for sure, right in found
    ]
    caption = "Is it as right as it is sure? On the straight line it is."
    table = [(f"{sure:.1f} %", f"{right:.1f} %") for sure, right in found]
    drawn = svg.chart(frame, parts, caption)
    return Figure(caption, "evaluate/coverage.csv", drawn, ("sure", "right"), table)


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
            parts.append(svg.dot(frame, value, at, "main" if row["strength"] == "1" else "bad", told))
    caption = "Right on corrupted pictures; weak (blue) and stronger ones."
    table = [
        (row["corruption"], row["strength"], percent(row["top1"]), f"{percent(row['low'])} – {percent(row['high'])}")
        for row in rows
    ]
    columns = ("corruption", "strength", "top-1", "95 %")
    return Figure(caption, "evaluate/robustness.csv", svg.chart(frame, parts, caption), columns, table)


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
    table = [(row["class"], str(row["images"]), percent(row["recall"])) for row in weakest]
    columns = ("class", "test pictures", "recall")
    return Figure(caption, "evaluate/classes.json", drawn, columns, table)
