"""Is a new model provably better? A pure function of what two models answer to the same images: no files, no torch.

PROMOTE: everything asked for is shown. HOLD: it is not shown that the challenger is better, and more images might show
it. REJECT: it is shown to be worse, or it breaks a bound. `alpha` is the chance of promoting a challenger that is no
better, for each challenger that is tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics import intervals, scores, significance
from imagetrail.metrics.scores import Floats, Labels
from imagetrail.stages.gate.params import Gate

PROMOTE, HOLD, REJECT = "PROMOTE", "HOLD", "REJECT"
UNPROVEN = (
    "challenger_is_better",
    "no_class_loses",
)  # checks that more images could turn; to fail another is a fault


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
    told: str  # what it means that it is not passed


@dataclass(frozen=True)
class Decision:
    decision: str
    reason: str
    checks: tuple[Check, ...]
    skipped: dict[str, str]  # check -> why it was not made
    figures: dict[str, Any]
    disagreements: NDArray[np.int64]  # numbers of test images that only one of the two gets right


def decide(
    challenger: Candidate, champion: Candidate | None, labels: Labels, params: Gate, *, data: str
) -> Decision:
    """What is to be done with the challenger.

    labels: N int64, of today's test images. data: content hash of the training images, as the pipeline knows it.
    """
    none = np.empty(0, np.int64)
    if champion and (other := _other_task(challenger, champion)):
        return Decision(HOLD, other, (), {}, {}, none)
    # A champion of old may have seen what is a test image today, when the data were parted anew. Such images flatter it,
    # and are left out. A challenger that has seen test images is a fault of the pipeline, and rejected.
    judged = np.flatnonzero(~champion.seen) if champion else np.arange(len(labels))
    if not len(judged):
        return Decision(
            HOLD, "the champion was trained on every one of today's test images", (), {}, {}, none
        )
    labels = labels[judged]
    ours = challenger.probabilities[judged]
    checks, skipped = (
        list(_alone(challenger, ours, labels, params, data)),
        _skipped(challenger, champion, params),
    )
    right = ours.argmax(1) == labels
    figures: dict[str, Any] = {
        "images": len(judged),
        "left_out": len(challenger.seen) - len(judged),
    } | _figures("challenger", ours, labels)
    if champion:
        theirs = champion.probabilities[judged]
        baseline = theirs.argmax(1) == labels
        figures |= _figures("champion", theirs, labels) | _difference(right, baseline, params.alpha)
        figures["by_class"] = classes = _by_class(
            right, baseline, labels, challenger.classes, params
        )
        checks += _against(challenger, champion, right, baseline, params)
        if params.margin is not None:
            checks.append(_no_class_loses(classes, params.margin, params.alpha))
        none = judged[np.flatnonzero(right != baseline)]
    decision, reason = _conclude(checks, challenger, champion)
    return Decision(decision, reason, tuple(checks), skipped, figures, none)


def _other_task(challenger: Candidate, champion: Candidate) -> str:
    """Why the two cannot be compared; empty if they can."""
    if champion.shape != challenger.shape:
        sizes = ("×".join(str(side) for side in model.shape) for model in (champion, challenger))
        return "the champion takes pictures of {}, the challenger of {}: they cannot be compared".format(
            *sizes
        )
    if champion.classes != challenger.classes:
        lost = [name for name in champion.classes if name not in challenger.classes]
        new = [name for name in challenger.classes if name not in champion.classes]
        told = [f"only the champion knows {', '.join(lost)}"] * bool(lost) + [
            f"only the challenger {', '.join(new)}"
        ] * bool(new)
        return f"the two know different classes ({'; '.join(told) or 'in another order'}): they cannot be compared"
    return ""


def _alone(
    model: Candidate, probabilities: Floats, labels: Labels, params: Gate, data: str
) -> Iterator[Check]:
    """What is asked of any model, with or without a champion."""
    low, _ = _accuracy_interval(probabilities.argmax(1) == labels)
    yield Check(
        "top1_low",
        low >= params.min_top1,
        low,
        params.min_top1,
        "it is not accurate enough for any use",
    )
    leaked = int(model.seen.sum())
    yield Check(
        "test_images_seen", leaked == 0, leaked, 0, "it was trained on images that it is tested on"
    )
    known = bool(data) and model.data == data
    yield Check(
        "data_known",
        known,
        float(known),
        1,
        "its training data are not those that dvc.lock knows; run `dvc repro`",
    )
    if params.max_ece is not None:
        ece = scores.ece(probabilities, labels)
        yield Check(
            "ece",
            ece <= params.max_ece,
            ece,
            params.max_ece,
            "its confidence is not to be believed",
        )
    if params.max_mb is not None:
        yield Check(
            "megabytes",
            model.megabytes <= params.max_mb,
            model.megabytes,
            params.max_mb,
            "its file is too large",
        )
    if params.max_ms is not None and model.ms is not None:
        yield Check(
            "ms",
            model.ms <= params.max_ms,
            model.ms,
            params.max_ms,
            "it is too slow, by this machine's clock",
        )


def _against(
    challenger: Candidate,
    champion: Candidate,
    right: NDArray[np.bool_],
    baseline: NDArray[np.bool_],
    params: Gate,
) -> Iterator[Check]:
    """What is asked of a challenger as a whole."""
    worse = significance.mcnemar(baseline, right)[2]
    yield Check(
        "challenger_is_no_worse",
        worse >= params.alpha,
        worse,
        params.alpha,
        "it is shown to be worse",
    )
    better = significance.mcnemar(right, baseline)[2]
    yield Check(
        "challenger_is_better",
        better < params.alpha,
        better,
        params.alpha,
        "it is not shown to be better",
    )
    bound, ours, theirs = (
        params.max_robustness_loss,
        challenger.corruption_error,
        champion.corruption_error,
    )
    if bound is not None and ours is not None and theirs is not None:
        told = "it errs more on corrupted pictures"
        yield Check("corruption_error", ours <= theirs + bound, ours, theirs + bound, told)


def _no_class_loses(classes: list[dict[str, Any]], margin: float, alpha: float) -> Check:
    worst = max(classes, key=lambda row: float(row["p_holm"]))
    told = f"it is not shown that no class loses {margin:.1%} of accuracy, the least for {worst['class']!r}"
    if margin < (smallest := _smallest_margin(worst["images"], alpha / len(classes))):
        told += f", whose {worst['images']} images can at best show it for {smallest:.1%}"
    return Check("no_class_loses", worst["p_holm"] < alpha, worst["p_holm"], alpha, told)


def _smallest_margin(images: int, alpha: float) -> float:
    """The margin that is shown where two models agree on every one of so many images."""
    from scipy import stats

    z2 = float(stats.norm.isf(alpha)) ** 2
    return z2 / (images + z2)


def _by_class(
    right: NDArray[np.bool_],
    baseline: NDArray[np.bool_],
    labels: Labels,
    names: tuple[str, ...],
    params: Gate,
) -> list[dict[str, Any]]:
    """The difference in accuracy in each class, and the p, single and for them all, that it is a loss of the margin."""
    rows: list[dict[str, Any]] = []
    for label, name in enumerate(names):
        ours, theirs = right[labels == label], baseline[labels == label]
        difference = float(ours.mean() - theirs.mean()) if len(ours) else 0.0
        p = (
            1.0
            if params.margin is None
            else significance.noninferiority(ours, theirs, params.margin)
        )
        rows.append(
            {"class": name, "images": len(ours), "difference": round(difference, 6), "p": p}
        )
    corrected = significance.holm([row["p"] for row in rows])
    return [row | {"p_holm": p} for row, p in zip(rows, corrected, strict=True)]


def _figures(name: str, probabilities: Floats, labels: Labels) -> dict[str, float]:
    right = probabilities.argmax(1) == labels
    low, high = _accuracy_interval(right)
    told = {
        "top1": float(right.mean()),
        "top1_low": low,
        "top1_high": high,
        "ece": scores.ece(probabilities, labels),
    }
    return {f"{name}_{key}": round(value, 6) for key, value in told.items()}


def _difference(
    right: NDArray[np.bool_], baseline: NDArray[np.bool_], alpha: float
) -> dict[str, float]:
    only_new, only_old, p = significance.mcnemar(right, baseline)
    difference, low, high = significance.paired_interval(right, baseline)
    effect = significance.minimal_effect(only_new + only_old, len(right), alpha)
    named = {
        "top1_difference": difference,
        "top1_difference_low": low,
        "top1_difference_high": high,
        "minimal_effect": effect,
    }
    counts = {"only_challenger_right": only_new, "only_champion_right": only_old}
    return {name: round(value, 6) for name, value in named.items()} | counts | {"mcnemar_p": p}


def _accuracy_interval(right: NDArray[np.bool_]) -> tuple[float, float]:
    low, high = intervals.wilson(np.array(right.sum()), np.array(len(right)))
    return float(low), float(high)


def _skipped(challenger: Candidate, champion: Candidate | None, params: Gate) -> dict[str, str]:
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
        return found | {
            "corruption_error": "it was not measured for both: metrics.json has no mean_corruption_error"
        }
    return found


def _conclude(
    checks: list[Check], challenger: Candidate, champion: Candidate | None
) -> tuple[str, str]:
    if champion and champion.sha256 == challenger.sha256:
        return HOLD, "the challenger is the champion"
    failed = [check for check in checks if not check.passed]
    faults = [check for check in failed if check.name not in UNPROVEN]
    why = (
        "compared with the champion, image by image"
        if champion
        else "there is no champion yet: absolute thresholds decide"
    )
    for check in faults or failed:
        why += f"; {check.told} ({check.name} is {check.value:.4g}, its bound {check.bound:.4g})"
    return (REJECT if faults else HOLD if failed else PROMOTE), why
