"""What the gate asks of a model: of any alone, and of a challenger against the champion."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagetrail.base.criteria import Criterion
from imagetrail.base.words import percent
from imagetrail.metrics import intervals, noninferiority, scores, significance
from imagetrail.metrics.scores import Floats, Labels
from imagetrail.stages.gate.candidate import Candidate
from imagetrail.stages.gate.pair import Pair, Units, ahead
from imagetrail.stages.gate.params import Gate
from imagetrail.stages.gate.settling import more_for_margin

# checks that more images could turn; to fail another is a fault
UNPROVEN = ("challenger_is_better", "no_class_loses", "classes_not_judged")


@dataclass(frozen=True)
class Check:
    name: str
    passed: bool
    value: float
    bound: float
    fault: str  # what it means that it is not passed


def alone(
    model: Candidate,
    probabilities: Floats,
    labels: Labels,
    params: Gate,
    data: str,
    units: Units,
) -> Iterator[Check]:
    """What is asked of any model, with or without a champion."""
    low, _ = intervals.accuracy(probabilities.argmax(1) == labels, units)
    fault = "it is not accurate enough for any use"
    yield Check("top1_low", low >= params.min_top1, low, params.min_top1, fault)
    yield every_class_judged(model.classes, labels)
    leaked = int(model.seen.sum())
    fault = "it was trained on images that it is tested on"
    yield Check("test_images_seen", leaked == 0, leaked, 0, fault)
    known = bool(data) and model.data == data
    fault = "its training data are not those that dvc.lock knows; run `dvc repro`"
    yield Check("data_known", known, float(known), 1, fault)
    fault = "its confidence is not to be believed"
    yield from _at_most("ece", scores.ece(probabilities, labels), params.max_ece, fault)
    yield from _at_most("megabytes", model.megabytes, params.max_mb, "its file is too large")
    yield from _at_most("ms", model.ms, params.max_ms, "it is too slow, by this machine's clock")


def every_class_judged(classes: tuple[str, ...], labels: Labels) -> Check:
    """labels: of the test images that the model is judged on."""
    absent = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    fault = ""
    if len(absent):
        more = f" and {len(absent) - 1} more" if absent[1:].size else ""
        fault = f"no test image is of {classes[absent[0]]!r}{more}: nothing is known of it"
    return Check("classes_not_judged", not len(absent), len(absent), 0, fault)


def better(pair: Pair, alpha: float, spent: float) -> Iterator[Check]:
    """What is asked of a challenger as a whole, where both know the same classes.

    spent: the share of alpha that this reading of the test images may have.
    """
    where = "" if pair.by is Criterion.TOP1 else f" in {pair.by.words}"
    fault = f"it is shown to be worse{where}"
    yield Check("challenger_is_no_worse", pair.p_worse >= alpha, pair.p_worse, alpha, fault)
    fault = f"it is not shown to be better{where}"
    if pair.alike:
        fault += f": the two are right on the same of the {len(pair.ours):,} images"
    yield Check("challenger_is_better", pair.p_better < spent, pair.p_better, spent, fault)


def robust(challenger: Candidate, champion: Candidate, most: float | None) -> Iterator[Check]:
    """What is asked on corrupted pictures; most: error above the champion's."""
    if most is not None and champion.corruption_error is not None:
        fault, bound = "it errs more on corrupted pictures", champion.corruption_error + most
        yield from _at_most("corruption_error", challenger.corruption_error, bound, fault)


def _at_most(name: str, value: float | None, bound: float | None, fault: str) -> Iterator[Check]:
    """A check, unless there is no value or no bound."""
    if value is not None and bound is not None:
        yield Check(name, value <= bound, value, bound, fault)


def no_class_loses(classes: list[dict[str, Any]], margin: float, spent: float) -> Check:
    """What is asked of a challenger class by class; classes: as `by_class` has them.

    That none loses the margin is one claim, and holds with the chance of error that the weakest of
    its parts has: an intersection-union test needs no correction for their number (Berger,
    Technometrics 24, 1982).
    """
    worst = max(classes, key=lambda row: float(row["p"]))
    fault = f"it is not shown that no class loses {percent(margin, 1)} of accuracy"
    fault += f", the least for {worst['class']!r}"
    if margin < (smallest := worst["smallest_margin"]):
        alike = f", worth {worst['worth']:.0f}," if worst["worth"] < worst["images"] else ""
        shown = f"{worst['images']} images{alike} can at best show it for {percent(smallest, 1)}"
        fault += f", whose {shown}"
    return Check("no_class_loses", worst["p"] < spent, worst["p"], spent, fault)


def by_class(
    pair: Pair, names: Mapping[int, str], margin: float | None, spent: float
) -> list[dict[str, Any]]:
    """The difference in accuracy in each class, and the p that it is a loss of the margin.

    names: of the labels that both models know. `difference_low` and `_high`: 95 %, of the class
    alone. `p` is of the class alone; `p_holm` is corrected for all of them, to name single classes.
    `worth`: so many independent images are worth what those of the class are. `smallest_margin`:
    what they show if the two models agree. `more_images`: so many more may show it; null: none.
    """
    rows: list[dict[str, Any]] = []
    for label, name in names.items():
        mine = pair.labels == label
        ours, theirs, units = pair.ours[mine], pair.theirs[mine], pair.units[mine]
        worth, p = intervals.independent(units), 1.0
        row: dict[str, Any] = {"class": name, "images": len(ours), "worth": round(worth, 6)}
        row |= ahead(ours, theirs, units)
        if margin is not None:
            p = noninferiority.noninferiority(ours, theirs, margin, worth)
            row["smallest_margin"] = round(noninferiority.smallest_margin(worth, spent), 6)
            row["more_images"] = more_for_margin(ours, theirs, worth, margin, spent, p)
        rows.append(row | {"p": p})
    corrected = significance.holm([row["p"] for row in rows])
    return [row | {"p_holm": p} for row, p in zip(rows, corrected, strict=True)]


def skipped(challenger: Candidate, champion: Candidate | None, params: Gate) -> dict[str, str]:
    """The checks that are not made, and why."""
    bounds = {
        "no_class_loses": params.margin,
        "ece": params.max_ece,
        "megabytes": params.max_mb,
        "ms": params.max_ms,
    }
    found = {name: "params.yaml sets no bound" for name, bound in bounds.items() if bound is None}
    if champion is None:
        return found | {"comparison": "there is no champion yet"}
    if champion.classes != challenger.classes:
        return found | {"corruption_error": "the two know different classes"}
    if params.max_robustness_loss is None:
        return found | {"corruption_error": "params.yaml sets no bound"}
    if challenger.corruption_error is None or champion.corruption_error is None:
        why = "it was not measured for both: metrics.json has no mean_corruption_error"
        return found | {"corruption_error": why}
    return found
