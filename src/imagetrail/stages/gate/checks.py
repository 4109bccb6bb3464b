"""What the gate asks of a model: of any alone, and of a challenger against the champion."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.criteria import Criterion
from imagetrail.metrics import intervals, scores, significance
from imagetrail.metrics.scores import Floats, Labels
from imagetrail.stages.gate.pair import Pair, Units
from imagetrail.stages.gate.params import Gate

# checks that more images could turn; to fail another is a fault
UNPROVEN = ("challenger_is_better", "no_class_loses", "classes_not_judged")


@dataclass(frozen=True)
class Candidate:
    """A model before the gate."""

    sha256: str  # of its ONNX file
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # H, W, C
    probabilities: Floats  # N×K, of today's test images; empty if it cannot answer to them
    seen: NDArray[np.bool_]  # N: which of them it was trained on
    data: str  # content hash of its training images
    corruption_error: float | None = None
    megabytes: float = 0.0
    ms: float | None = None


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


def against(
    challenger: Candidate, champion: Candidate, pair: Pair, params: Gate
) -> Iterator[Check]:
    """What is asked of a challenger as a whole."""
    alpha, where = params.alpha, "" if pair.by is Criterion.TOP1 else f" in {pair.by.words}"
    fault = f"it is shown to be worse{where}"
    yield Check("challenger_is_no_worse", pair.p_worse >= alpha, pair.p_worse, alpha, fault)
    fault = f"it is not shown to be better{where}"
    yield Check("challenger_is_better", pair.p_better < alpha, pair.p_better, alpha, fault)
    loss, theirs = params.max_robustness_loss, champion.corruption_error
    if loss is not None and theirs is not None:
        fault = "it errs more on corrupted pictures"
        ours = challenger.corruption_error
        yield from _at_most("corruption_error", ours, theirs + loss, fault)


def _at_most(name: str, value: float | None, bound: float | None, fault: str) -> Iterator[Check]:
    """A check, unless there is no value or no bound."""
    if value is not None and bound is not None:
        yield Check(name, value <= bound, value, bound, fault)


def no_class_loses(classes: list[dict[str, Any]], margin: float, alpha: float) -> Check:
    """What is asked of a challenger class by class; classes: as `by_class` has them."""
    worst = max(classes, key=lambda row: float(row["p_holm"]))
    fault = f"it is not shown that no class loses {margin:.1%} of accuracy"
    fault += f", the least for {worst['class']!r}"
    if margin < (smallest := _smallest_margin(worst["worth"], alpha / len(classes))):
        alike = f", worth {worst['worth']:.0f}," if worst["worth"] < worst["images"] else ""
        fault += f", whose {worst['images']} images{alike} can at best show it for {smallest:.1%}"
    return Check("no_class_loses", worst["p_holm"] < alpha, worst["p_holm"], alpha, fault)


def _smallest_margin(images: float, alpha: float) -> float:
    """The margin that is shown where two models agree on every one of so many images."""
    from scipy import stats

    z2 = float(stats.norm.isf(alpha)) ** 2
    return z2 / (images + z2)


def by_class(pair: Pair, names: tuple[str, ...], margin: float | None) -> list[dict[str, Any]]:
    """The difference in accuracy in each class, and the p that it is a loss of the margin.

    `p` is of the class alone; `p_holm` is corrected for all of them. `worth`: so many independent
    images are worth what those of the class are.
    """
    rows: list[dict[str, Any]] = []
    for label, name in enumerate(names):
        mine = pair.labels == label
        ours, theirs = pair.ours[mine], pair.theirs[mine]
        worth = intervals.independent(pair.units[mine])
        difference = float(ours.mean() - theirs.mean()) if len(ours) else 0.0
        p = 1.0 if margin is None else significance.noninferiority(ours, theirs, margin, worth)
        row = {"class": name, "images": len(ours), "worth": round(worth, 6)}
        rows.append(row | {"difference": round(difference, 6), "p": p})
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
    if params.max_robustness_loss is None:
        return found | {"corruption_error": "params.yaml sets no bound"}
    if challenger.corruption_error is None or champion.corruption_error is None:
        why = "it was not measured for both: metrics.json has no mean_corruption_error"
        return found | {"corruption_error": why}
    return found
