"""Challenger beside champion: the checks of the two together, and the figures of both."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.criteria import Criterion
from imagetrail.metrics import intervals, scores
from imagetrail.metrics.scores import Floats, Labels
from imagetrail.stages.gate import checks, readings, settling
from imagetrail.stages.gate.candidate import Candidate, aligned, compared
from imagetrail.stages.gate.checks import Check
from imagetrail.stages.gate.pair import Pair, Units
from imagetrail.stages.gate.params import Gate


@dataclass(frozen=True)
class Judged:
    """The images that are judged."""

    numbers: NDArray[np.int64]  # among all of test
    labels: Labels
    units: Units  # 0 upwards

    def of(self, labels: list[int]) -> "Judged":
        """Those with one of these labels."""
        mine = np.isin(self.labels, labels)
        _, units = np.unique(self.units[mine], return_inverse=True)
        return Judged(self.numbers[mine], self.labels[mine], units)


@dataclass(frozen=True)
class Comparison:
    checks: tuple[Check, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    settling: str = ""  # what would settle those of the checks that more images could turn
    # numbers of images that only one of the two gets right
    disagreements: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def compare(
    challenger: Candidate,
    champion: Candidate,
    judged: Judged,
    params: Gate,
    *,
    by: Criterion,
    reading: int,
) -> Comparison:
    """What is asked of a challenger beside the champion, on the classes that both know.

    reading: which challenger this is that the images judge, from 1.
    """
    spent = readings.spent(params.alpha, reading)
    classes = compared(challenger, champion)
    names = {i: name for i, name in enumerate(challenger.classes) if name in classes.both}
    both = judged.of(list(names))
    theirs = aligned(champion, challenger, classes).probabilities[both.numbers]
    ours_right = challenger.probabilities[both.numbers].argmax(1) == both.labels
    pair = Pair(ours_right, theirs.argmax(1) == both.labels, both.labels, both.units, by)
    rows = checks.by_class(pair, names, params.margin, spent)
    made: list[Check] = []
    if not classes.words or params.margin is None:
        made += checks.better(pair, params.alpha, spent)
    if not classes.words:
        made += checks.robust(challenger, champion, params.max_robustness_loss)
    if params.margin is not None:
        made.append(checks.no_class_loses(rows, params.margin, spent))
    failed = [check.name for check in made if not check.passed]
    settles = settling.settling(failed, pair, rows, spent)
    found: dict[str, Any] = {"reading": reading, "alpha_spent": spent}
    found |= {"fresh_due": reading > readings.DUE}
    found |= figures("champion", theirs, both.labels, both.units)
    found |= {**pair.figures(spent), "compared": len(both.numbers), "classes_new": classes.new}
    found |= {"classes_gone": classes.gone, "settles": settles, "by_class": rows}
    differ = both.numbers[pair.ours != pair.theirs]
    return Comparison(tuple(made), found, settling.words(settles), differ)


def figures(name: str, probabilities: Floats, labels: Labels, units: Units) -> dict[str, float]:
    """A model's own scores, with intervals as `evaluate` has them."""
    right = probabilities.argmax(1) == labels
    found = {
        "top1": float(right.mean()),
        "macro_recall": float(scores.evenly(labels) @ right),
        **intervals.of_answers(right, labels, units),
        "ece": scores.ece(probabilities, labels),
    }
    return {f"{name}_{key}": round(value, 6) for key, value in found.items()}
