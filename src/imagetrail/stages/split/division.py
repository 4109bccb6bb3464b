"""Which pictures go where: a pure function of what they are, what is published, and a seed.

A unit has a score between 0 and 1, a hash of its key and the seed, and nothing else. Those below
the share of test are test, the next are valid, the rest is train. So no picture that is added,
removed or renamed moves another; only where test or valid would be less than half or over one and
a half times as large as asked for, or have nothing of a class, do the ranks of scores decide.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.rng import derive
from imagetrail.data.pictures import Pictures
from imagetrail.stages.split.coverage import PARTS, TEST, TRAIN, VALID, Coverage
from imagetrail.stages.split.params import Split
from imagetrail.stages.split.units import Numbers, Units

NONE = -1

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Division:
    parts: Numbers  # position in PARTS of each picture; NONE: in no part
    leaked: Numbers  # pictures in no part because a later part was published with their unit


def divide(pictures: Pictures, units: Units, split: Split, seed: int) -> Division:
    """Published valid and test pictures stay; the others go where their units' scores send them.

    Every class is in each part that is not published, if it has so many units.
    """
    published = np.array([PARTS.index(name or "train") for name in pictures.splits], np.int64)
    readable = np.flatnonzero(units.of >= 0)
    sides = np.zeros(len(units), np.int64)
    np.maximum.at(sides, units.of[readable], published[readable])  # test before valid before train
    scores = np.array([derive(seed, "split", key) / 2**63 for key in units.keys])
    free = sides == TRAIN
    ranked = np.flatnonzero(free)[np.argsort(scores[free])]
    shares = {VALID: split.valid, TEST: split.test}
    drawn = {part: share for part, share in shares.items() if PARTS[part] not in pictures.splits}
    first, second = _borders(scores[ranked], drawn.get(VALID, 0), drawn.get(TEST, 0))
    sides[ranked[:first]], sides[ranked[first:second]] = TEST, VALID
    codes = np.unique(units.of[readable] * len(pictures.classes) + pictures.labels[readable])
    Coverage(sides, *np.divmod(codes, len(pictures.classes))).mend(
        ranked, (TRAIN, *sorted(drawn, reverse=True))
    )
    parts = np.where(units.of >= 0, sides[units.of], NONE)
    leaked = readable[~free[units.of[readable]] & (published != parts)[readable]]
    parts[leaked] = NONE
    if split.per_class is not None:
        parts[_surplus(pictures.labels, parts, scores[units.of], split.per_class)] = NONE
    return Division(parts, leaked)


def _borders(scores: Scores, valid: float, test: float) -> tuple[int, int]:
    """How many of the units, by their sorted scores, are test, and how many test or valid.

    A share of 0 is none.
    """

    def near(count: int, expected: float) -> int:
        return min(max(count, int(expected / 2)), int(1.5 * expected) + 1) if expected else 0

    held_out = test + valid * (1 - test)
    first = near(int(np.searchsorted(scores, test)), test * len(scores))
    between = int(np.searchsorted(scores, held_out)) - first
    return first, first + near(between, (held_out - test) * len(scores))


def _surplus(labels: Numbers, parts: Numbers, scores: Scores, most: int) -> Numbers:
    """The training pictures beyond the first `most` of each class, from the highest score down."""
    train = np.flatnonzero(parts == TRAIN)
    ranked = train[np.argsort(-scores[train], kind="stable")]
    beyond = [ranked[labels[ranked] == label][most:] for label in np.unique(labels[ranked])]
    return np.concatenate([np.empty(0, np.int64), *beyond])
