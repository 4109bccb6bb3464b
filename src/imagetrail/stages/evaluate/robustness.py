"""How often the model is right on corrupted pictures: under each corruption, and in the mean."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.rng import generator
from imagetrail.base.samples import Images, Samples
from imagetrail.base.terminal import track
from imagetrail.metrics import intervals
from imagetrail.metrics.scores import Floats
from imagetrail.stages.evaluate.corruptions import CORRUPTIONS, STRENGTHS

CHUNK = 100  # images that are corrupted at a time, to bound the memory
KINDS = [(name, strength) for strength in STRENGTHS for name in CORRUPTIONS]

Answer = Callable[[Images], Floats]  # N×H×W×C uint8 to N×K calibrated probabilities


@dataclass(frozen=True)
class Robustness:
    """What the model answers to N images under each of KINDS."""

    clean: float  # top-1 on the same images, not corrupted
    right: NDArray[np.bool_]  # N×KINDS
    examples: list[Images]  # the first image under each of KINDS, H×W×C


def judge(
    answer: Answer, test: Samples, chosen: NDArray[np.int64], seed: int, *, clean: float
) -> Robustness:
    """Tries every corruption on the images number `chosen`; clean: top-1 on them as they are."""
    labels = test.labels[chosen]
    right = np.empty((len(chosen), len(KINDS)), np.bool_)
    examples: list[Images] = []
    starts = range(0, len(chosen), CHUNK)
    for start in track(starts, len(starts), "corrupting", "batches"):
        part = slice(start, start + CHUNK)
        images = test.gather(chosen[part])
        for i, (name, strength) in enumerate(KINDS):
            rng = generator(seed, "corrupt", name, strength, start)
            corrupted = CORRUPTIONS[name](images, strength, rng)
            right[part, i] = answer(corrupted).argmax(1) == labels[part]
            if start == 0:
                examples.append(corrupted[0])
    return Robustness(clean, right, examples)


def by_corruption(found: Robustness, units: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Top-1 under each of KINDS, with its 95 % interval; units: as `in_the_mean` has them."""
    rows: list[dict[str, Any]] = []
    for (name, strength), right in zip(KINDS, found.right.T, strict=True):
        shares = right.mean(), *intervals.accuracy(right, units)
        top1, low, high = (round(float(share), 6) for share in shares)
        rows.append(
            {"corruption": name, "strength": strength, "top1": top1, "low": low, "high": high}
        )
    return rows


def in_the_mean(found: Robustness, units: NDArray[np.int64]) -> dict[str, float]:
    """The mean corruption error with its interval, of how many images, and top-1 on these as such.

    units: a number for each image, equal for those that belong together.
    """
    wrong = 1 - found.right.mean(1)
    low, high = intervals.mean_over_units(wrong, units, (0, 1))
    return {
        "corrupted": len(wrong),
        "top1_clean_subset": found.clean,
        "mean_corruption_error": float(wrong.mean()),
        "mean_corruption_error_low": low,
        "mean_corruption_error_high": high,
    }
