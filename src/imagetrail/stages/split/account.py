"""What a division leaves of each class, and which pictures it leaves out."""

from collections.abc import Sequence

import numpy as np

from imagetrail.base.errors import UserError
from imagetrail.base.words import count_of
from imagetrail.data.pictures import Pictures
from imagetrail.stages.split.coverage import PARTS
from imagetrail.stages.split.division import Division
from imagetrail.stages.split.units import Numbers, Units

LEFT_OUT_COLUMNS = ("source", "split", "reason")


def check(pictures: Pictures, units: Units, division: Division) -> list[str]:
    """Raises UserError where a class has nothing in train or in a part that is not published.

    Returns a line for each class that has nothing in a published part.
    """
    sizes = _sizes(pictures, division)
    lacking = {part: np.flatnonzero(row == 0) for part, row in zip(PARTS, sizes, strict=True)}
    published = set(pictures.splits) & set(PARTS[1:])
    short = sorted({int(i) for part in set(PARTS) - published for i in lacking[part]})
    if short:
        more = f" (and {count_of(len(short) - 1, 'more class')})" if short[1:] else ""
        raise UserError(f"{_shortage(pictures, units, division, short[0])}{more}")
    consequences = {"valid": "the search does not see it", "test": "the gate cannot promote"}
    return [
        f"class {pictures.classes[label]!r} has no picture in {part}: {consequences[part]}"
        for part in sorted(published)
        for label in lacking[part]
    ]


def _sizes(pictures: Pictures, division: Division) -> Numbers:
    """How many pictures of each class each part has: parts×K."""
    sizes = np.zeros((len(PARTS), len(pictures.classes)), np.int64)
    chosen = division.parts >= 0
    np.add.at(sizes, (division.parts[chosen], pictures.labels[chosen]), 1)
    return sizes


def _shortage(pictures: Pictures, units: Units, division: Division, label: int) -> str:
    """Of what a class has too few."""
    mine = (pictures.labels == label) & (units.of >= 0)
    distinct = len(set(units.of[mine].tolist()))
    left = ", ".join(
        f"{size} in {part}"
        for part, size in zip(PARTS, _sizes(pictures, division)[:, label], strict=True)
    )
    gone = int(mine[division.leaked].sum())
    out = f", {gone} left out as published parts have the same" if gone else ""
    of_its = count_of(int(mine.sum()), "picture")
    verb = "is" if distinct == 1 else "are"
    return (
        f"class {pictures.classes[label]!r} would have {left}{out}: of its {of_its} "
        f"{distinct} {verb} distinct (copies, near duplicates and a group count once); "
        "each part needs one"
    )


def left_out(
    pictures: Pictures,
    units: Units,
    division: Division,
    fingerprints: Sequence[str | None],
) -> list[dict[str, str]]:
    """The pictures that left a part, and whose fault it is: rows of source, split and reason."""
    held: dict[int, list[int]] = {}
    for i in np.flatnonzero(np.isin(units.of, units.of[division.leaked])).tolist():
        if division.parts[i] >= 0:
            held.setdefault(int(units.of[i]), []).append(i)
    rows = []
    for i in division.leaked.tolist():
        others = held[int(units.of[i])]
        same = [other for other in others if fingerprints[other] == fingerprints[i]]
        how = "equals" if same else "is a near duplicate or of the group of"
        other = (same or others)[0]
        part = PARTS[division.parts[other]]
        rows.append(
            {
                "source": pictures.sources[i],
                "split": pictures.splits[i],
                "reason": f"{how} {pictures.sources[other]} in {part}",
            }
        )
    return rows
