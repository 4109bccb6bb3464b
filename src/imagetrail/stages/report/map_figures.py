"""Charts of the trial of maps: what the answer keeps, the more of a picture they take or give."""

from collections.abc import Sequence

from imagetrail.base.words import percent
from imagetrail.stages.report import svg
from imagetrail.stages.report.figures import Figure, Row
from imagetrail.stages.report.svg import Frame
from imagetrail.stages.report.words import name as words

LINES = {"own": "main", "other": "quiet", "random": "bad"}  # a column: a class of the page's style
WHOSE = {"own": "its own map", "other": "another picture's", "random": "random cells"}
TOLD = {
    "deletion": ("taken away", "is taken away: the lower the full line, the truer the map"),
    "insertion": ("shown", "alone is shown: the higher the full line, the truer the map"),
}


def curves(rows: Sequence[Row]) -> dict[str, list[Figure]]:
    """Of each method its curves of deletion and insertion."""
    methods = dict.fromkeys(row["method"] for row in rows)
    return {
        method: [
            _curve(method, kind, [r for r in rows if (r["method"], r["kind"]) == (method, kind)])
            for kind in TOLD
        ]
        for method in methods
    }


def _curve(method: str, kind: str, rows: Sequence[Row]) -> Figure:
    done, meaning = TOLD[kind]
    frame = Frame((0, 100), (0, 100))
    parts = [svg.axes(frame, f"of the picture {done}, %", "probability of the answer, %")]
    for column, style in LINES.items():
        line = [(100 * float(row["share"]), 100 * float(row[column])) for row in rows]
        parts.append(svg.line(frame, line, style))
        parts += [
            svg.dot(frame, *place, style, f"{WHOSE[column]}, {place[0]:g} % {done}: {place[1]:.1f}")
            for place in line
        ]
    caption = (
        f"{kind.capitalize()}, {words(method)}: what a map names first {meaning}. Full: the "
        "picture's own map; dashed: another picture's; dotted: random cells."
    )
    table = [
        (percent(row["share"], 0), *(percent(row[column], 1) for column in LINES)) for row in rows
    ]
    columns = (f"of the picture {done}", *WHOSE.values())
    return Figure(caption, "explain/curves.csv", svg.chart(frame, parts, caption), columns, table)
