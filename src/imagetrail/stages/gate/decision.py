"""Is a new model provably better? Decided on what two models answer to the same images.

A pure function: no files, no torch. PROMOTE: everything asked for is shown. HOLD: it is not shown
that the challenger is better, and more images might show it. REJECT: it is shown to be worse, or
it breaks a bound. `alpha` is the chance of promoting a challenger that is no better, for each
challenger that is tried.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.criteria import Criterion
from imagetrail.metrics import intervals, scores
from imagetrail.metrics.scores import Floats, Labels
from imagetrail.stages.gate import checks
from imagetrail.stages.gate.checks import Candidate, Check
from imagetrail.stages.gate.pair import Pair, Units
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
) -> Decision:
    """What is to be done with the challenger.

    labels: N int64, of today's test images. data: content hash of the training images, as the
    pipeline knows it. units: N, equal for images that belong together, such as a patient's, which
    count as one where chance is reckoned; null: each by itself. by: what better and worse mean.
    """
    if champion and (fault := _other_task(challenger, champion)):
        return _held(fault)
    units = np.arange(len(labels)) if units is None else units
    # A champion of old may have seen what is a test image today, when the data were parted anew.
    # Such images flatter it, as do others of the same patient, and are left out. A challenger that
    # has seen test images is a fault of the pipeline, and rejected.
    seen = np.isin(units, units[champion.seen]) if champion else np.zeros(len(labels), bool)
    judged = np.flatnonzero(~seen)
    if not len(judged):
        return _held("the champion was trained on every one of today's test images")
    labels, units = labels[judged], np.unique(units[judged], return_inverse=True)[1]
    ours = challenger.probabilities[judged]
    right = ours.argmax(1) == labels
    made = list(checks.alone(challenger, ours, labels, params, data, units))
    figures: dict[str, Any] = {
        "images": len(judged),
        "units": int(units.max()) + 1,
        "left_out": len(challenger.seen) - len(judged),
    }
    figures |= _figures("challenger", ours, labels, units)
    disagreements = np.empty(0, np.int64)
    if champion:
        theirs = champion.probabilities[judged]
        pair = Pair(right, theirs.argmax(1) == labels, labels, units, by)
        figures |= _figures("champion", theirs, labels, units) | pair.figures(params.alpha)
        more, classes = _against(challenger, champion, pair, params)
        made, figures["by_class"] = made + more, classes
        disagreements = judged[pair.ours != pair.theirs]
    decision, reason = _conclude(made, challenger, champion, by)
    skipped = checks.skipped(challenger, champion, params)
    return Decision(decision, reason, tuple(made), skipped, figures, disagreements)


def _against(
    challenger: Candidate, champion: Candidate, pair: Pair, params: Gate
) -> tuple[list[Check], list[dict[str, Any]]]:
    """What is asked of a challenger beside the champion, and how each class fares."""
    classes = checks.by_class(pair, challenger.classes, params.margin)
    made = list(checks.against(challenger, champion, pair, params))
    if params.margin is not None:
        made.append(checks.no_class_loses(classes, params.margin, params.alpha))
    return made, classes


def _held(reason: str) -> Decision:
    """Where the two cannot be compared."""
    return Decision(HOLD, reason, (), {}, {}, np.empty(0, np.int64))


def _other_task(challenger: Candidate, champion: Candidate) -> str:
    """Why the two cannot be compared; empty if they can."""
    if champion.shape != challenger.shape:
        theirs, ours = ("×".join(map(str, model.shape)) for model in (champion, challenger))
        pictures = f"the champion takes pictures of {theirs}, the challenger of {ours}"
        return f"{pictures}: they cannot be compared"
    if champion.classes != challenger.classes:
        lost = [name for name in champion.classes if name not in challenger.classes]
        new = [name for name in challenger.classes if name not in champion.classes]
        differences = [f"only the champion knows {', '.join(lost)}"] if lost else []
        differences += [f"only the challenger {', '.join(new)}"] if new else []
        which = "; ".join(differences) or "in another order"
        return f"the two know different classes ({which}): they cannot be compared"
    return ""


def _figures(name: str, probabilities: Floats, labels: Labels, units: Units) -> dict[str, float]:
    right = probabilities.argmax(1) == labels
    figures = {
        "top1": float(right.mean()),
        "macro_recall": float(scores.evenly(labels) @ right),
        **intervals.of_answers(right, labels, units),
        "ece": scores.ece(probabilities, labels),
    }
    return {f"{name}_{key}": round(value, 6) for key, value in figures.items()}


def _conclude(
    made: list[Check], challenger: Candidate, champion: Candidate | None, by: Criterion
) -> tuple[str, str]:
    if champion and champion.sha256 == challenger.sha256:
        return HOLD, "the challenger is the champion"
    failed = [check for check in made if not check.passed]
    faults = [check for check in failed if check.name not in checks.UNPROVEN]
    reason = "there is no champion yet: absolute thresholds decide"
    if champion:
        reason = "compared with the champion, image by image"
        if by is not Criterion.TOP1:
            reason += f", by {by.words}"
    for check in faults or failed:
        bound = f"({check.name} is {check.value:.4g}, its bound {check.bound:.4g})"
        reason += f"; {check.fault} {bound}"
    return (REJECT if faults else HOLD if failed else PROMOTE), reason
