"""The search on a function that is known, so that its rules show: rungs, resumption, failures."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from imagetrail.search import Leg, Range, Report, Tune, search

TUNE = Tune(
    trials=12, batch=4, rungs=[1, 3, 9], images=None, space={"x": Range(low=-1, high=1), "kind": ["good", "bad", "broken"]}
)


class Runner:
    """Scores a trial at once; stops the whole search after so many legs, if told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.legs: list[Leg] = []
        self.stop_after = stop_after

    def __call__(self, legs: Sequence[Leg]) -> list[Report]:
        if self.stop_after is not None and len(self.legs) + len(legs) > self.stop_after:
            raise KeyboardInterrupt
        self.legs += legs
        return [Report(None if leg.values["kind"] == "broken" else score(leg)) for leg in legs]


def score(leg: Leg) -> float:
    return leg.until / 10 - abs(leg.values["x"] - 0.3) - (leg.values["kind"] == "bad")


def outcome(folder: Path, runner: Runner, *, seed: int = 0) -> list[tuple[int, str, dict[str, object], dict[int, float]]]:
    folder.mkdir(exist_ok=True)
    found = search(TUNE, runner, seed=seed, folder=folder, first={"x": 0.0, "kind": "good"})
    return [(trial.number, trial.state.name, trial.params, trial.intermediate_values) for trial in found]


def test_same_seed_gives_same_trials_and_another_seed_others(tmp_path: Path) -> None:
    one, two, other = (outcome(tmp_path / name, Runner(), seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert one == two != other


def test_what_is_known_to_be_good_is_tried_first(tmp_path: Path) -> None:
    assert outcome(tmp_path / "study", Runner())[0][2] == {"x": 0.0, "kind": "good"}


def test_weak_trials_stop_at_a_rung_and_save_their_epochs(tmp_path: Path) -> None:
    runner = Runner()
    trials = outcome(tmp_path / "study", runner)
    assert {state for _, state, *_ in trials} >= {"PRUNED", "COMPLETE"}
    assert sum(leg.until - leg.since for leg in runner.legs) < 12 * 9 / 2
    assert all(max(values) == 9 for _, state, _, values in trials if state == "COMPLETE")


def test_a_failed_trial_is_told_as_such_and_the_search_goes_on(tmp_path: Path) -> None:
    trials = outcome(tmp_path / "study", Runner())
    assert len(trials) == 12
    assert {state for _, state, params, _ in trials if params["kind"] == "broken"} == {"FAIL"}


@pytest.mark.parametrize("stop_after", [0, 4, 6, 9, 13])
def test_a_stopped_search_ends_as_an_undisturbed_one_and_repeats_no_leg(tmp_path: Path, stop_after: int) -> None:
    whole = Runner()
    expected = outcome(tmp_path / "whole", whole)
    first, second = Runner(stop_after), Runner()
    with pytest.raises(KeyboardInterrupt):
        outcome(tmp_path / "broken", first)
    assert outcome(tmp_path / "broken", second) == expected
    assert first.legs + second.legs == whole.legs
