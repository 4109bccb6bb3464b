"""Charts of the search: its trials, what mattered to them, what none of them beats."""

from collections.abc import Mapping, Sequence

from imagetrail.base.criteria import Criterion
from imagetrail.base.words import percent
from imagetrail.stages.report import svg
from imagetrail.stages.report.figures import Figure, Mark, Row, marked
from imagetrail.stages.report.svg import Frame
from imagetrail.stages.report.words import short, thousands


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
    caption = (
        f"Every trial in its order: {by.words} on valid. Full: complete; hollow: stopped early."
    )
    table = [
        (
            str(row["number"]),
            row["state"].lower(),
            str(row["epochs"]),
            percent(row["value"]),
            *(short(row[name]) for name in fields),
        )
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
    table = [(name, percent(share, 1)) for name, share in shares.items()]
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
