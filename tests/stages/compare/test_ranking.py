"""Verdicts on score tables whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from imagetrail.stages.compare import ranking
from imagetrail.stages.compare.ranking import ALPHA, EFFECTS, Floats, Standing, rank

SEED_SD, OWN_SD = 0.01, 0.003  # what a seed brings to all arms, and what is each training's own


def table(effects: dict[str, float], *, seeds: int = 5, number: int = 0) -> dict[str, Floats]:
    """Scores of arms that truly differ from 0.9 by `effects`."""
    rng = np.random.default_rng(number)
    shared = rng.normal(0, SEED_SD, seeds)
    return {
        arm: 0.9 + effect + shared + rng.normal(0, OWN_SD, seeds) for arm, effect in effects.items()
    }


def verdicts(standings: list[Standing]) -> dict[str, str]:
    return {standing.arm: standing.verdict for standing in standings}


def test_clear_differences_are_told_and_the_best_comes_first() -> None:
    scores = table({"relu": 0.0, "better": 0.05, "same": 0.0, "worse": -0.05})
    found = rank(scores, "relu")
    assert verdicts(found) == {"better": "win", "same": "tie", "relu": "reference", "worse": "loss"}
    assert found[0].arm == "better" and found[-1].arm == "worse"
    assert set(verdicts(rank(scores, "relu", words=EFFECTS)).values()) == {"reference", *EFFECTS}


def test_pairing_finds_what_unpaired_means_would_hide() -> None:
    """Seeds differ by 1 point each way, arms by 1.5: intervals overlap, the difference is clear."""
    better, reference = rank(table({"relu": 0.0, "better": 0.015}), "relu")
    assert better.low < reference.high and better.difference_low > 0 and better.verdict == "win"


def test_equal_arms_are_told_apart_in_at_most_5_of_100_comparisons() -> None:
    equal = dict.fromkeys(["real", "+augmented", "+synthetic", "+related", "all"], 0.0)
    wrong = sum(
        set(verdicts(rank(table(equal, number=i), "real")).values()) != {"tie", "reference"}
        for i in range(1000)
    )
    assert wrong <= stats.binom.ppf(0.999, 1000, ALPHA)


def test_noisier_arms_raise_no_more_false_alarms() -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(1000):
        scores = {
            arm: 0.9 + rng.normal(0, sd, 4)
            for arm, sd in (("relu", 0.001), ("calm", 0.001), ("wild", 0.02))
        }
        wrong += set(verdicts(rank(scores, "relu")).values()) != {"tie", "reference"}
    assert wrong <= stats.binom.ppf(0.999, 1000, ALPHA)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_detectable_difference_is_found_four_times_in_five(seeds: int) -> None:
    """At the true noise; the report takes that of the seeds at hand."""
    noise = OWN_SD * np.sqrt(2)
    truth = ranking._detectable(seeds, ALPHA / 2) * noise / np.sqrt(seeds)
    tables = [
        table({"real": 0.0, "+a": truth, "+b": 0.0}, seeds=seeds, number=i) for i in range(600)
    ]
    found = sum(verdicts(rank(scores, "real", words=EFFECTS))["+a"] == "helps" for scores in tables)
    assert 0.75 < found / 600 < 0.86
    told = np.mean([rank(scores, "real")[0].detectable ** 2 for scores in tables]) ** 0.5
    assert told == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_verdict_interval_and_p_always_say_the_same(seeds: int) -> None:
    for number in range(300):
        effects = {"relu": 0.0, "a": 0.004, "b": -0.004, "c": 0.01, "d": 0.0}
        *arms, _ = sorted(
            rank(table(effects, seeds=seeds, number=number), "relu", resolution=1e-4),
            key=lambda arm: arm.verdict == "reference",
        )
        for arm in arms:
            outside = {"win": arm.difference_low > 0, "loss": arm.difference_high < 0}
            assert (arm.p < ALPHA) == (arm.verdict != "tie") == any(outside.values())
            assert arm.verdict == "tie" or outside[arm.verdict]


@pytest.mark.parametrize("effects", [(0.0, 0.0, 0.0, 0.0), (0.05, -0.05, 0.03, 0.0), (0.05,) * 4])
def test_all_intervals_of_a_set_hold_the_truth_in_95_of_100_comparisons(
    effects: tuple[float, ...],
) -> None:
    """However large the differences are: Holm's steps would promise too much where all are."""
    truth = {"relu": 0.0} | dict(zip("abcd", effects, strict=True))
    missed = wrong_way = 0
    for number in range(1000):
        arms = rank(table(truth, number=number), "relu")
        held = [arm.difference_low <= truth[arm.arm] <= arm.difference_high for arm in arms]
        missed += not all(held)
        side = {"win": 1, "loss": -1, "tie": 0, "reference": 0}
        wrong_way += any(side[arm.verdict] * truth[arm.arm] < 0 for arm in arms)
    assert missed <= stats.binom.ppf(0.999, 1000, ALPHA) and wrong_way == 0


def test_the_interval_of_the_only_rival_misses_the_truth_5_times_in_100() -> None:
    """No wider than it need be."""
    missed = 0
    for number in range(1000):
        better, *_ = rank(table({"real": 0.0, "+a": 0.05}, number=number), "real")
        missed += not better.difference_low <= 0.05 <= better.difference_high
    assert stats.binom.ppf(0.001, 1000, ALPHA) <= missed <= stats.binom.ppf(0.999, 1000, ALPHA)


def test_no_interval_is_a_point_where_all_seeds_score_the_same() -> None:
    same = np.full(5, 0.975)
    for arm in rank({"a": same, "b": same.copy()}, "a", resolution=1 / 40):
        assert arm.low < arm.mean < arm.high
        assert arm.verdict == "reference" or arm.difference_low < 0 < arm.difference_high


def test_more_seeds_show_smaller_differences() -> None:
    worst = [
        max(arm.detectable for arm in rank(table({"a": 0, "b": 0}, seeds=n), "a"))
        for n in (3, 6, 12, 24)
    ]
    assert worst == sorted(worst, reverse=True)


def test_equal_scores_are_a_tie_and_a_few_equal_steps_on_few_images_no_proof() -> None:
    same = np.array([0.5, 0.6, 0.7])
    found = rank({"a": same, "b": same.copy(), "c": same + 0.01}, "a", resolution=0.01)
    assert verdicts(found) == {"a": "reference", "b": "tie", "c": "tie"}
    assert verdicts(rank({"a": same, "c": same + 0.01}, "a", resolution=0.0001))["c"] == "win"


def test_an_arm_that_always_guesses_is_worse_without_a_warning() -> None:
    good = np.array([0.90, 0.91, 0.905])
    assert (
        verdicts(rank({"relu": good, "stuck": np.full(3, 0.1)}, "relu", resolution=1e-4))["stuck"]
        == "loss"
    )


def test_a_set_is_summed_up_in_one_sentence() -> None:
    found = rank(table({"relu": 0.0, "mish": 0.05, "elu": 0.0, "sigmoid": -0.05}), "relu")
    said = ranking.sentence(found, 5)
    assert said.startswith("Best on average is mish with 9") and said.count(". ") == 0
    for words in (
        "better than relu: mish;",
        "not told apart from relu: elu;",
        "worse: sigmoid;",
        "points may go unseen with 5 trainings each",
    ):
        assert words in said


def test_the_sentence_on_remedies_says_what_the_final_training_takes() -> None:
    found = rank(
        table({"real": 0.0, "+augmented": 0.05, "+synthetic": 0.0, "+flip": -0.05}),
        "real",
        words=EFFECTS,
    )
    said = ranking.remedies_sentence(found, {"augmented": 0.3, "synthetic": 0.0, "flip": False}, 5)
    assert (
        "+augmented helps (+" in said
        and "+flip harms (−" in said
        and "+synthetic has no shown effect" in said
    )
    assert "so the final training takes augmented 0.3 and goes without synthetic, flip;" in said
    nothing = ranking.remedies_sentence(found, {"synthetic": 0.0}, 5)
    assert "so the final training goes without synthetic;" in nothing
    assert "takes pretrained;" in ranking.remedies_sentence(found, {"pretrained": True}, 5)
