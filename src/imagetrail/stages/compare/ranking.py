"""What repeated trainings of several arms say about one another: intervals, tests, verdicts.

Seeds are the unit: an arm has one score a seed, and the arms of a set share their seeds, so that
what a seed brings to all of them (its images, its order) cancels in the difference to the
reference. No torch, no files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from imagetrail.metrics.intervals import mean_interval
from imagetrail.metrics.scores import Floats
from imagetrail.metrics.significance import holm

ALPHA, POWER = 0.05, 0.8
OUTCOMES = ("win", "tie", "loss")
EFFECTS = ("helps", "no effect", "harms")  # the same of a remedy
HELPS = EFFECTS[0]
BESIDE = {"real": "real images alone", "frozen": "the frozen network"}  # reference of remedies


@dataclass(frozen=True)
class Standing:
    """How an arm stands to the reference of its set, in fractions; above 0 favours the arm."""

    arm: str
    mean: float
    sd: float  # over seeds
    low: float  # 95 % interval of the mean (Student's t)
    high: float
    difference: float  # mean over seeds of the arm's score less that of the reference
    difference_low: float  # its 95 % interval
    difference_high: float
    detectable: float  # difference that so many seeds, as noisy as these, show 4 times in 5
    p: float  # paired t-test, two-sided, corrected within the set (Holm)
    verdict: str  # "reference" or one of three words


def rank(
    scores: Mapping[str, Floats],
    reference: str,
    *,
    resolution: float = 0.0,
    words: Sequence[str] = OUTCOMES,
) -> list[Standing]:
    """Every arm's standing, best mean first.

    scores: of each arm, a score a seed, the seeds in the same order.
    resolution: the step in which scores come, 1 / images judged. Differences are never taken to be
    less noisy than rounding to it makes them: a few equal ones on few images are no proof.
    """
    others = [arm for arm in scores if arm != reference]
    differences = {arm: scores[arm] - scores[reference] for arm in others}
    corrected = holm([paired_p(differences[arm], resolution) for arm in others])
    verdicts = {reference: (1.0, "reference")}
    for arm, p in zip(others, corrected, strict=True):
        verdicts[arm] = p, _verdict(p, float(differences[arm].mean()), words)
    standings = [
        _standing(
            arm,
            runs,
            runs - scores[reference],
            *verdicts[arm],
            resolution=resolution,
            rivals=len(others),
        )
        for arm, runs in scores.items()
    ]
    return sorted(standings, key=lambda standing: -standing.mean)


def _verdict(p: float, difference: float, words: Sequence[str]) -> str:
    better, alike, worse = words
    return alike if p >= ALPHA else better if difference > 0 else worse


def _standing(
    arm: str,
    runs: Floats,
    difference: Floats,
    p: float,
    verdict: str,
    *,
    resolution: float,
    rivals: int,
) -> Standing:
    low, high = mean_interval(runs)
    middle, half, detectable = float(difference.mean()), 0.0, 0.0
    if verdict != "reference":
        half = _critical(len(runs), ALPHA) * _error(difference, resolution)
        detectable = _detectable(len(runs), ALPHA / rivals) * _error(difference, resolution)
    return Standing(
        arm,
        float(runs.mean()),
        float(runs.std(ddof=1)),
        low,
        high,
        middle,
        middle - half,
        middle + half,
        detectable,
        p,
        verdict,
    )


def _error(difference: Floats, resolution: float) -> float:
    """Standard error of a mean difference; rounding two scores gives a variance resolution² / 6."""
    return float(np.sqrt(max(difference.var(ddof=1), resolution**2 / 6) / len(difference)))


def paired_p(difference: Floats, resolution: float = 0.0) -> float:
    """Two-sided p of a paired t-test on differences, one a seed; 1 if all are 0 or it is one."""
    if len(difference) < 2 or not difference.any():
        return 1.0
    from scipy import stats

    error = _error(difference, resolution)
    return (
        float(2 * stats.t.sf(abs(difference.mean()) / error, len(difference) - 1)) if error else 0.0
    )


@cache
def _critical(runs: int, alpha: float) -> float:
    from scipy import stats

    return float(stats.t.isf(alpha / 2, runs - 1))


@cache
def _detectable(runs: int, alpha: float) -> float:
    """The true difference, in standard errors, that a paired t-test at `alpha` finds by POWER."""
    from scipy import optimize, stats

    critical, freedom = _critical(runs, alpha), runs - 1
    return float(
        optimize.brentq(
            lambda shift: stats.nct.sf(critical, freedom, shift) - POWER, 0.0, 10 * critical
        )
    )


def sentence(standings: Sequence[Standing], seeds: int) -> str:
    """The outcome of a set, to be quoted."""
    best, reference = standings[0], _reference(standings)
    phrases = (f"better than {reference}", f"not told apart from {reference}", "worse")
    parts = [f"Best on average is {best.arm} with {best.mean:.2%} ± {best.sd:.2%}"]
    for verdict, phrase in zip(OUTCOMES, phrases, strict=True):
        arms = [standing.arm for standing in standings if standing.verdict == verdict]
        if arms:
            parts.append(f"{phrase}: {', '.join(arms)}")
    return f"{'; '.join([*parts, _shown(standings, seeds)])}."


def remedies_sentence(
    standings: Sequence[Standing], proven: Mapping[str, object], seeds: int
) -> str:
    """Which remedies help, and what the final training makes of that.

    proven: each remedy's value there, 0 or false if off.
    """
    effects = []
    for standing in standings:
        if standing.verdict != "reference":
            verdict = standing.verdict.replace("no effect", "has no shown effect")
            effects.append(f"{standing.arm} {verdict} ({points(standing)})")
    used = [
        remedy if value is True else f"{remedy} {value:g}"
        for remedy, value in proven.items()
        if value
    ]
    dropped = [remedy for remedy, value in proven.items() if not value]
    ends = []
    if used:
        ends.append(f"takes {', '.join(used)}")
    if dropped:
        ends.append(f"goes without {', '.join(dropped)}")
    found = f"Against {BESIDE[_reference(standings)]} {', '.join(effects)}"
    final = f"so the final training {' and '.join(ends)}"
    return f"{found}, {final}; {_shown(standings, seeds)}."


def points(standing: Standing) -> str:
    """A difference and its interval in percentage points."""
    low, high = 100 * standing.difference_low, 100 * standing.difference_high
    return f"{100 * standing.difference:+.2f} points, {low:+.2f} to {high:+.2f}"


def _reference(standings: Sequence[Standing]) -> str:
    return next(standing.arm for standing in standings if standing.verdict == "reference")


def _shown(standings: Sequence[Standing], seeds: int) -> str:
    most = max(standing.detectable for standing in standings)
    return f"{seeds} seeds show a difference of {100 * most:.2f} points four times in five"
