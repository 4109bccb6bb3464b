"""What repeated trainings of several arms say about one another: intervals, tests, verdicts.

Seeds are the unit: an arm has one score a seed, and the arms of a set share their seeds, so that
what a seed brings to all of them (its images, its order) cancels in the difference to the
reference. No torch, no files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from imagetrail.base.words import percent
from imagetrail.metrics.intervals import mean_interval, standard_error
from imagetrail.metrics.scores import Floats

ALPHA, POWER = 0.05, 0.8
OUTCOMES = ("win", "tie", "loss")
EFFECTS = ("helps", "no effect", "harms")  # the same of a remedy
HELPS = EFFECTS[0]
BESIDE = {"real": "real images alone", "frozen": "the frozen network"}  # reference of remedies
RULE = (
    "An arm is told apart from the reference where the interval of its difference leaves out 0; "
    "the intervals of a set hold all together, with 95 % (Bonferroni), and so do its p."
)


@dataclass(frozen=True)
class Standing:
    """How an arm stands to the reference of its set, in fractions; above 0 favours the arm."""

    arm: str
    mean: float
    sd: float  # over seeds
    low: float  # 95 % interval of the mean (Student's t), of this arm alone
    high: float
    difference: float  # mean over seeds of the arm's score less that of the reference
    difference_low: float  # its interval, which holds with those of all arms of the set: RULE
    difference_high: float
    detectable: float  # difference that so many seeds, as noisy as these, show 4 times in 5
    p: float  # paired t-test, two-sided, times the arms that are tested; below ALPHA by RULE
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

    The intervals of all differences hold at once (Dunn, JASA 56, 1961), so the verdicts can be read
    from them, and which way an arm differs is as sure as that it does. Holm's steps reject a little
    more, but the intervals that go with them say of an arm that wins no more than that it does
    (Strassburger and Bretz, doi:10.1002/sim.3338).
    """
    rivals = max(1, len(scores) - 1)
    standings = [
        _reference_standing(arm, runs, resolution)
        if arm == reference
        else _standing(arm, runs, runs - scores[reference], resolution, rivals, words)
        for arm, runs in scores.items()
    ]
    return sorted(standings, key=lambda standing: -standing.mean)


def _reference_standing(arm: str, runs: Floats, resolution: float) -> Standing:
    return Standing(arm, *_mean(runs, resolution), 0.0, 0.0, 0.0, 0.0, 1.0, "reference")


def _standing(
    arm: str,
    runs: Floats,
    difference: Floats,
    resolution: float,
    rivals: int,
    words: Sequence[str],
) -> Standing:
    alpha, least = ALPHA / rivals, _rounding(resolution, 2)
    low, high = mean_interval(difference, alpha=alpha, least=least)
    better, alike, worse = words
    return Standing(
        arm,
        *_mean(runs, resolution),
        float(difference.mean()),
        low,
        high,
        _detectable(len(runs), alpha) * standard_error(difference, least),
        min(1.0, rivals * paired_p(difference, resolution)),
        better if low > 0 else worse if high < 0 else alike,
    )


def _mean(runs: Floats, resolution: float) -> tuple[float, float, float, float]:
    """Mean and standard deviation over seeds, and the ends of the mean's own interval."""
    ends = mean_interval(runs, alpha=ALPHA, least=_rounding(resolution, 1))
    return float(runs.mean()), float(runs.std(ddof=1)), *ends


def _rounding(resolution: float, scores: int) -> float:
    """The variance that rounding gives a sum of so many scores."""
    return scores * resolution**2 / 12


def paired_p(difference: Floats, resolution: float = 0.0) -> float:
    """Two-sided p of a paired t-test on differences, one a seed; 1 if all are 0 or it is one."""
    if len(difference) < 2 or not difference.any():
        return 1.0
    from scipy import stats

    error = standard_error(difference, _rounding(resolution, 2))
    return (
        float(2 * stats.t.sf(abs(difference.mean()) / error, len(difference) - 1)) if error else 0.0
    )


@cache
def _detectable(runs: int, alpha: float) -> float:
    """The true difference, in standard errors, that a paired t-test at `alpha` finds by POWER."""
    from scipy import optimize, stats

    critical, freedom = float(stats.t.isf(alpha / 2, runs - 1)), runs - 1
    return float(
        optimize.brentq(
            lambda shift: stats.nct.sf(critical, freedom, shift) - POWER, 0.0, 10 * critical
        )
    )


def sentence(standings: Sequence[Standing], seeds: int, metric: str = "top-1") -> str:
    """The outcome of a set, to be quoted. metric: what the scores are called."""
    best, reference = standings[0], _reference(standings)
    phrases = (f"better than {reference}", f"not told apart from {reference}", "worse")
    score = f"{100 * best.mean:.2f} ± {percent(best.sd)} {metric}"
    parts = [f"Best on average is {best.arm} with {score}"]
    for verdict, phrase in zip(OUTCOMES, phrases, strict=True):
        arms = [standing.arm for standing in standings if standing.verdict == verdict]
        if arms:
            parts.append(f"{phrase}: {', '.join(arms)}")
    return f"{'; '.join([*parts, _shown(standings, seeds)])}."


def remedies_sentence(
    standings: Sequence[Standing],
    proven: Mapping[str, object],
    seeds: int,
    metric: str = "top-1",
) -> str:
    """Which remedies help, and what the final training makes of that.

    proven: each remedy's value there, 0 or false if off. metric: what the scores are called.
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
    found = f"By {metric}, against {BESIDE[_reference(standings)]} {', '.join(effects)}"
    final = f"so the final training {' and '.join(ends)}"
    return f"{found}, {final}; {_shown(standings, seeds)}."


def points(standing: Standing) -> str:
    """A difference and its interval in percentage points."""
    low, high = 100 * standing.difference_low, 100 * standing.difference_high
    said = f"{100 * standing.difference:+.2f} points, {low:+.2f} to {high:+.2f}"
    return said.replace("-", "−")


def _reference(standings: Sequence[Standing]) -> str:
    return next(standing.arm for standing in standings if standing.verdict == "reference")


def _shown(standings: Sequence[Standing], seeds: int) -> str:
    most = max(standing.detectable for standing in standings)
    return f"a difference below {100 * most:.2f} points may go unseen with {seeds} trainings each"
