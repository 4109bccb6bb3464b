"""Every metric of a model with its 95 % interval, which is never a point."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics import intervals
from imagetrail.metrics.scores import Floats, Labels, Metric, Z

SHARES = ("top1", "topk")  # of images for which something holds: Wilson's interval
POINT = 1e-9  # of an interval: no wider than rounding makes it


def judge(
    judged: Mapping[str, tuple[Metric, Floats]],
    labels: Labels,
    rng: np.random.Generator,
    *,
    draws: int,
    units: NDArray[np.int64],
) -> dict[str, float]:
    """Of each metric on its probabilities its value, `<name>`, and `<name>_low`, `<name>_high`.

    judged: top1, macro_recall, macro_f1 and any others by their names. Shares and macro recall are
    given as the gate has them, all else by the bootstrap. units: a number for each image, equal for
    those that belong together.
    """
    ends = intervals.bootstrap(judged, labels, rng, draws=draws, units=units)
    for name, (metric, values) in judged.items():
        if name in SHARES:
            ends[name] = intervals.accuracy(metric.parts(values, labels)[:, 0] > 0, units)
        elif np.ptp(ends[name]) < POINT:
            ends[name] = _in_doubt(metric, values, labels, units)
    right = judged["top1"][1].argmax(1) == labels
    ends["macro_recall"] = intervals.macro_recall(right, labels, units)
    value = {name: metric(values, labels) for name, (metric, values) in judged.items()}
    ends["macro_f1"] = _as_wide(value, ends)
    return {
        f"{name}{end}": number
        for name in judged
        for end, number in zip(("", "_low", "_high"), (value[name], *ends[name]), strict=True)
    }


def _as_wide(
    value: Mapping[str, float], ends: Mapping[str, tuple[float, float]]
) -> tuple[float, float]:
    """Of macro F1 the bootstrap's ends, no nearer to it than those of macro recall are to that.

    Where classes are equally large, a mistake costs both the same; and a bootstrap of answers that
    are all right, in all or in a rare class, knows of no mistake.
    """
    low, high = ends["macro_f1"]
    least, most = ends["macro_recall"]
    f1, recall = value["macro_f1"], value["macro_recall"]
    return max(0.0, min(low, f1 + least - recall)), min(1.0, max(high, f1 + most - recall))


def _in_doubt(
    metric: Metric, probabilities: Floats, labels: Labels, units: NDArray[np.int64]
) -> tuple[float, float]:
    """The ends where all images are alike: as many as Wilson allows may be answered otherwise.

    That is: are of the second likeliest class, or of the likeliest if none is now.
    """
    second = np.argsort(-probabilities, axis=1, kind="stable")[:, 1]
    other = np.where(labels == second, probabilities.argmax(1), second)
    unseen = Z**2 / (intervals.independent(units) + Z**2)
    means = metric.parts(probabilities, labels).mean(0)
    others = metric.parts(probabilities, other).mean(0)
    found = metric(probabilities, labels), float(metric.value(means + unseen * (others - means)))
    return min(found), max(found)
