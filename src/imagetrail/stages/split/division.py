"""Which pictures go where: a pure function of what they are, what is published, and a seed.

A unit has a score between 0 and 1, and nothing else: the least hash, with the seed, of its names
or, where the user gave none, of its fingerprints, scaled so that units of all sizes are spread
evenly. Those below the share of test are test, the next are valid, the rest is train. So no picture
that is added, removed or renamed moves another, but for a new member of a unit, which changes its
score: the first near duplicate by much, later ones less and less. Ranks of scores decide only where
test or valid would have less than half or more than twice its share of a class, or nothing.
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
    scores = _scores(units, seed)
    free = sides == TRAIN
    ranked = np.flatnonzero(free)[np.argsort(scores[free])]
    shares = {VALID: split.valid, TEST: split.test}
    drawn = {part: share for part, share in shares.items() if PARTS[part] not in pictures.splits}
    codes = np.unique(units.of[readable] * len(pictures.classes) + pictures.labels[readable])
    holders, labels = np.divmod(codes, len(pictures.classes))  # each unit with each label in it
    for mine in _strata(ranked, holders, labels):
        first, second = _borders(scores[mine], drawn.get(VALID, 0), drawn.get(TEST, 0))
        sides[mine[:first]], sides[mine[first:second]] = TEST, VALID
    Coverage(sides, holders, labels).mend(ranked, (TRAIN, *sorted(drawn, reverse=True)))
    parts = np.where(units.of >= 0, sides[units.of], NONE)
    leaked = readable[~free[units.of[readable]] & (published != parts)[readable]]
    parts[leaked] = NONE
    if split.per_class is not None:
        parts[_surplus(pictures.labels, parts, scores[units.of], split.per_class)] = NONE
    return Division(parts, leaked)


def _scores(units: Units, seed: int) -> Scores:
    """Of each unit the least of its n marks' hashes h, as 1 − (1 − h)ⁿ.

    That is even between 0 and 1 whatever n is, so that large units are on no side more often. A
    hash of the least mark would be, too, but each new mark that is the least would draw anew.
    """
    least = [min(derive(seed, "split", mark) for mark in marks) for marks in units.marks]
    counts = np.array([len(marks) for marks in units.marks], np.int64)
    return np.asarray(1 - (1 - np.array(least, np.float64) / 2**63) ** counts)


def _strata(ranked: Numbers, holders: Numbers, labels: Numbers) -> list[Numbers]:
    """The units of each class alone, in their order, and those of several classes."""
    alone = np.bincount(holders)[holders] == 1
    strata = np.full(holders.max(initial=-1) + 1, -1, np.int64)
    strata[holders[alone]] = labels[alone]
    return _by(strata[ranked], ranked)


def _by(keys: Numbers, values: Numbers) -> list[Numbers]:
    """The values of each key, in their order."""
    order = np.argsort(keys, kind="stable")
    return np.split(values[order], np.flatnonzero(np.diff(keys[order])) + 1)


def _borders(scores: Scores, valid: float, test: float) -> tuple[int, int]:
    """How many of the units, by their sorted scores, are test, and how many test or valid.

    A share of 0 is none. Twice a small share is few: two more are let be.
    """

    def near(count: int, expected: float) -> int:
        return min(max(count, int(expected / 2)), int(2 * expected) + 2) if expected else 0

    held_out = test + valid * (1 - test)
    first = near(int(np.searchsorted(scores, test)), test * len(scores))
    between = int(np.searchsorted(scores, held_out)) - first
    return first, first + near(between, (held_out - test) * len(scores))


def _surplus(labels: Numbers, parts: Numbers, scores: Scores, most: int) -> Numbers:
    """The training pictures beyond the first `most` of each class, from the highest score down."""
    train = np.flatnonzero(parts == TRAIN)
    ranked = train[np.argsort(-scores[train], kind="stable")]
    return np.concatenate([mine[most:] for mine in _by(labels[ranked], ranked)])
