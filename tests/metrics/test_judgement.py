"""Every metric with an interval around it, whatever the answers are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from imagetrail.base.rng import generator
from imagetrail.metrics import intervals, scores
from imagetrail.metrics.judgement import judge
from imagetrail.metrics.scores import METRICS, Floats


def judged(
    probabilities: Floats, labels: NDArray[np.int64], units: NDArray[np.int64] | None = None
) -> dict[str, float]:
    metrics = {name: (metric, probabilities) for name, metric in METRICS.items()}
    metrics["topk"] = scores.top(2), probabilities
    together = np.arange(len(labels)) if units is None else units
    return judge(metrics, labels, generator(0, "judge"), draws=200, units=together)


@pytest.mark.parametrize("sure", [1.0, 0.9])
@pytest.mark.parametrize("of_each", [1, 4])
@pytest.mark.parametrize("right", [40, 0])
def test_no_interval_is_a_point_though_all_answers_are_right_or_wrong(
    sure: float, of_each: int, right: int
) -> None:
    labels = np.repeat(np.arange(4), 10)
    answers = np.where(np.arange(40) < right, labels, (labels + 1) % 4)
    probabilities = np.full((40, 4), (1 - sure) / 3)
    probabilities[np.arange(40), answers] = sure
    found = judged(probabilities, labels, np.arange(40) // of_each)
    for name in (*METRICS, "topk"):
        low, value, high = (round(found[f"{name}{end}"], 6) for end in ("_low", "", "_high"))
        assert low < high and low <= value <= high, name


def test_40_of_40_right_has_wilsons_interval_in_every_share() -> None:
    labels = np.repeat(np.arange(4), 10)
    found = judged(np.eye(4)[labels], labels)
    low = float(intervals.wilson(np.array(40), np.array(40))[0])
    assert found["top1_low"] == found["topk_low"] == pytest.approx(low)
    assert found["macro_f1_low"] == pytest.approx(found["macro_recall_low"]) and low < 0.92


def test_the_interval_of_macro_f1_holds_the_truth_where_mistakes_are_rare() -> None:
    """One picture in 100 is taken for the next class: of 80, often none; F1 is 0.99."""
    labels, rng, held = np.repeat(np.arange(4), 20), np.random.default_rng(0), 0
    for _ in range(300):
        wrong = rng.random(80) < 0.01
        found = judged(np.eye(4)[(labels + wrong) % 4], labels)
        held += found["macro_f1_low"] <= 0.99 <= found["macro_f1_high"]
    assert held >= 0.93 * 300
