"""Charts of what the model's confidence is worth, from the curve of coverage."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from imagetrail.base.words import percent
from imagetrail.stages.report import svg
from imagetrail.stages.report.figures import Figure, Row
from imagetrail.stages.report.svg import Frame

PARTS = 10  # groups of equal size that the confidence is cut into


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
    table = [
        (_whole(row["coverage"]), percent(row["threshold"]), percent(row["top1"])) for row in some
    ]
    columns = ("answered", "least confidence", "right among them")
    return Figure(
        caption, "evaluate/coverage.csv", svg.chart(frame, parts, caption), columns, table
    )


def _surest(row: Row) -> str:
    return f"the surest {_whole(row['coverage'])}"


def _whole(share: Any) -> str:
    return percent(share, 0)


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
