"""What would settle a HOLD: how many more test images, if all goes on as on these."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.criteria import Criterion
from imagetrail.metrics import power
from imagetrail.metrics.noninferiority import images_for_margin
from imagetrail.metrics.significance import mcnemar
from imagetrail.stages.gate.pair import Pair


def more_to_be_better(pair: Pair, spent: float) -> int | None:
    """So many more images show 4 times in 5 that ours is better; None: it is not ahead.

    If it is truly as far ahead as it is here.
    """
    given = pair.ours, pair.theirs, pair.labels, pair.units, spent
    times = power.times_as_many(*given, macro=pair.by is Criterion.MACRO_RECALL)
    return _more(times, len(pair.ours))


def more_for_margin(
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    worth: float,
    margin: float,
    spent: float,
    p: float,
) -> int | None:
    """So many more images of a class show 4 times in 5 that it does not lose the margin.

    0 if it is shown; None if it is lost on these images, or there are none. worth, p: as
    `by_class` has them.
    """
    if p < spent or not len(ours):
        return 0 if p < spent else None
    part, (wins, losses, _) = worth / len(ours), mcnemar(ours, theirs)
    images = images_for_margin(wins * part, losses * part, worth, margin, spent)
    return _more(images / worth, len(ours))


def _more(times: float, images: int) -> int | None:
    """Of an estimate no more than two digits."""
    if np.isinf(times):
        return None
    more = max(1.0, (times - 1) * images)
    step = 10 ** max(0, int(np.log10(more)) - 1)
    return int(np.ceil(more / step) * step)


def settling(
    failed: Sequence[str], pair: Pair, classes: Sequence[dict[str, Any]], spent: float
) -> list[dict[str, Any]]:
    """For each of the failed checks that images could turn what they need: `more_images`."""
    rows: list[dict[str, Any]] = []
    if "challenger_is_better" in failed:
        rows.append(
            {"check": "challenger_is_better", "more_images": more_to_be_better(pair, spent)}
        )
    if "no_class_loses" in failed:
        rows += [
            {
                "check": "no_class_loses",
                "class": row["class"],
                "more_images": row["more_images"],
            }
            for row in classes
            if row["p"] >= spent
        ]
    return rows


def words(rows: Sequence[dict[str, Any]]) -> str:
    """What would settle it, in a sentence; empty without rows."""
    parts = [_whole(row) for row in rows if row["check"] == "challenger_is_better"]
    of_classes = [row for row in rows if "class" in row]
    if lost := [row["class"] for row in of_classes if row["more_images"] is None]:
        parts.append(f"no number of images like these clears {_list(lost)}")
    if short := [row for row in of_classes if row["more_images"]]:
        most = max(short, key=lambda row: int(row["more_images"]))
        which = f"{_list([row['class'] for row in short])}"
        each = "" if len(short) == 1 else f", at most, for {most['class']!r}"
        parts.append(f"{which} would take about {most['more_images']:,} more test images{each}")
    return "; ".join(parts)


def _whole(row: dict[str, Any]) -> str:
    if row["more_images"] is None:
        return "no number of images like these would show a gain, as it is not ahead on them"
    more = f"about {row['more_images']:,} more test images"
    return f"{more} would show it with a chance of 80 %, if it is as far ahead as on these"


def _list(names: Sequence[str]) -> str:
    """Names, of many the first."""
    more = f" and {len(names) - 2} more" if names[2:] else ""
    return ", ".join(map(repr, names[:2])) + more
