"""Is a new model provably better? Decided on what two models answer to the same images.

A pure function: no files, no torch. PROMOTE: everything asked for is shown. HOLD: it is not shown
that the challenger is better, and more images might show it. REJECT: it is shown to be worse, or
it breaks a bound. `alpha` is the chance of promoting any challenger that is no better, of all that
these test images judge (`readings`).

What was the champion once is never proposed again by itself: somebody has rolled it back, or a
later one was better.

Where the two know different classes, they are compared on those that both know. A challenger that
knows more cannot be asked to be better there as well: no such class may lose `margin`, and that is
enough. Without a margin it must be better, as ever.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.criteria import Criterion
from imagetrail.base.words import percent
from imagetrail.metrics.scores import Labels
from imagetrail.stages.gate import checks
from imagetrail.stages.gate.candidate import Candidate, compared, other_task
from imagetrail.stages.gate.checks import Check
from imagetrail.stages.gate.comparison import Comparison, Judged, compare, figures
from imagetrail.stages.gate.pair import Units
from imagetrail.stages.gate.params import Gate

PROMOTE, HOLD, REJECT = "PROMOTE", "HOLD", "REJECT"


@dataclass(frozen=True)
class Decision:
    decision: str
    reason: str
    checks: tuple[Check, ...]
    skipped: dict[str, str]  # check -> why it was not made
    figures: dict[str, Any]
    disagreements: NDArray[np.int64]  # numbers of test images that only one of the two gets right


def decide(
    challenger: Candidate,
    champion: Candidate | None,
    labels: Labels,
    params: Gate,
    *,
    data: str,
    units: Units | None = None,
    by: Criterion = Criterion.TOP1,
    reading: int = 1,
    earlier: int | None = None,
) -> Decision:
    """What is to be done with the challenger.

    labels: N int64, of today's test images. data: content hash of the training images, as the
    pipeline knows it. units: N, equal for images that belong together, such as a patient's, which
    count as one where chance is reckoned; null: each by itself. by: what better and worse mean.
    reading: which challenger this is that the images judge, from 1. earlier: the line of the ledger
    by which it was the champion once, before this one.
    """
    units = np.arange(len(labels)) if units is None else units
    numbers = judged_images(champion, units)
    if reason := _why_not_compared(challenger, champion, numbers, earlier):
        return Decision(HOLD, reason, (), {}, {}, np.empty(0, np.int64))
    judged = Judged(numbers, labels[numbers], np.unique(units[numbers], return_inverse=True)[1])
    ours = challenger.probabilities[numbers]
    made = tuple(checks.alone(challenger, ours, judged.labels, params, data, judged.units))
    found = _images(challenger, champion, judged)
    found |= figures("challenger", ours, judged.labels, judged.units)
    beside = Comparison()
    if champion:
        beside = compare(challenger, champion, judged, params, by=by, reading=reading)
    made, found = made + beside.checks, found | beside.figures
    decision, faults = _conclude(made)
    more = [beside.settling] if decision == HOLD and beside.settling else []
    said = [_how(challenger, champion, params, by), *faults, *_notes(found), *more]
    if champion and champion.sha256 == challenger.sha256:
        decision, said = HOLD, ["the challenger is the champion"]
    skipped = checks.skipped(challenger, champion, params)
    return Decision(decision, "; ".join(said), made, skipped, found, beside.disagreements)


def judged_images(champion: Candidate | None, units: Units) -> NDArray[np.int64]:
    """The numbers of the images that are judged.

    A champion of old may have seen what is a test image today, when the data were parted anew. Such
    images flatter it, as do others of the same patient, and are left out. A challenger that has
    seen test images is a fault of the pipeline, and rejected.
    """
    seen = units[champion.seen] if champion else units[:0]
    return np.flatnonzero(~np.isin(units, seen))


def _why_not_compared(
    challenger: Candidate,
    champion: Candidate | None,
    numbers: NDArray[np.int64],
    earlier: int | None,
) -> str:
    """Why the two are not compared on the images of these numbers; empty: they are."""
    if earlier is not None:
        again = f"`imagetrail rollback {earlier}` makes it so again"
        return f"the challenger was the champion once, as number {earlier}; {again}"
    if champion and (fault := other_task(challenger, champion)):
        return fault
    return "" if len(numbers) else "the champion was trained on every one of today's test images"


def _images(challenger: Candidate, champion: Candidate | None, judged: Judged) -> dict[str, Any]:
    """Which file is judged, and on how many images."""
    count, all_of_test = len(judged.numbers), len(challenger.seen)
    return {
        "file": challenger.file,
        "test_images": all_of_test,
        "seen_by_champion": int(champion.seen.sum()) if champion else 0,
        "left_out": all_of_test - count,
        "images": count,
        "units": int(judged.units.max()) + 1,
    }


def _conclude(made: tuple[Check, ...]) -> tuple[str, list[str]]:
    """The decision, and why it is no better."""
    failed = [check for check in made if not check.passed]
    faults = [check for check in failed if check.name not in checks.UNPROVEN]
    decision = REJECT if faults else HOLD if failed else PROMOTE
    return decision, [
        f"{check.fault} ({check.name} is {check.value:.4g}, its bound {check.bound:.4g})"
        for check in faults or failed
    ]


def _how(challenger: Candidate, champion: Candidate | None, params: Gate, by: Criterion) -> str:
    """What it was that the challenger was measured by."""
    if not champion:
        return "there is no champion yet: absolute thresholds decide"
    said = "compared with the champion, image by image"
    if by is not Criterion.TOP1:
        said += f", by {by.words}"
    if differ := compared(challenger, champion).words:
        said += f", on the classes that both know ({differ})"
        if params.margin is not None:
            said += f": no such class may lose {percent(params.margin, 1)}"
    return said


def _notes(found: dict[str, Any]) -> list[str]:
    """What a reader of the verdict should know of its images."""
    notes = []
    if found["left_out"]:
        notes.append(
            f"{found['left_out']:,} of {found['test_images']:,} test images are left out: the "
            f"champion was trained on {found['seen_by_champion']:,} of them"
        )
    if found.get("fresh_due"):
        before = found["reading"] - 1
        notes.append(
            f"these test images have judged {before} challengers before, and a gain must be 1.5 "
            "times as large to be seen: new ones are due"
        )
    return notes
