"""The search on a known function, so that its rules show: rungs, resumption, limits, storage."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna  # noqa: TID251  tests look at what users see
import pytest

from imagetrail.base.errors import UserError
from imagetrail.base.params import check
from imagetrail.stages.tune.params import Tune, resolve
from imagetrail.stages.tune.search import Leg, Report, search
from imagetrail.stages.tune.space import By, Range, Space, typed
from imagetrail.stages.tune.study import PRUNERS, SAMPLERS, Trial
from imagetrail.training.recipe import Recipe

TUNE = Tune(
    trials=12,
    batch=4,
    rungs=[1, 3, 9],
    images=None,
    space={"x": Range(low=-1, high=1), "kind": ["good", "bad", "broken"]},
    known=[{"x": 0.0, "kind": "good"}],
)
RECIPE = Recipe(model="fast", activation="relu", optimiser="muon", epochs=9, lr=0.1)


class Stopped(Exception):
    pass


class Runner:
    """Scores a trial at once and keeps it, as checkpoints do; stops after so many legs."""

    def __init__(self, kept: Sequence[Leg] = (), stop_after: int | None = None) -> None:
        self.kept, self.legs, self.stop_after = list(kept), list[Leg](), stop_after

    def __call__(self, legs: Sequence[Leg]) -> list[Report]:
        for leg in legs:
            if leg not in self.kept:
                if len(self.legs) == self.stop_after:
                    raise Stopped
                self.legs.append(leg)
        return [Report(None if leg.values.get("kind") == "broken" else score(leg)) for leg in legs]

    @property
    def epochs(self) -> int:
        return sum(leg.until - leg.since for leg in self.legs)


def score(leg: Leg) -> float:
    return leg.until / 10 - abs(leg.values["x"] - 0.3) - (leg.values.get("kind") == "bad")


def found(
    folder: Path, runner: Runner | None = None, *, seed: int = 0, **changes: Any
) -> list[Trial]:
    folder.mkdir(exist_ok=True)
    costs = {"parameters": lambda values: 1000 * (1 + values["x"])}
    tune = TUNE.model_copy(update=changes)
    priced = lambda values: {name: costs[name](values) for name in tune.costs}  # noqa: E731
    return list(search(tune, runner or Runner(), seed=seed, folder=folder, costs=priced))


def studies(url: str) -> list[list[optuna.trial.FrozenTrial]]:
    return [
        optuna.load_study(study_name=name, storage=url).trials
        for name in optuna.get_all_study_names(url)
    ]


# ---- rungs ----


def test_same_seed_gives_same_trials_and_another_seed_others(tmp_path: Path) -> None:
    one, two, other = (
        found(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert one == two != other


def test_what_is_known_to_be_good_is_tried_first_as_far_as_it_lies_in_the_space(
    tmp_path: Path,
) -> None:
    known = [{"x": 0.0, "kind": "good"}, {"x": 0.5, "kind": "bad"}, {"x": 7.0, "kind": "bad"}]
    first, second, third, *_ = found(tmp_path / "study", known=known)
    assert first.values == known[0] and second.values == known[1]
    assert third.values["kind"] == "bad" and -1 <= third.values["x"] <= 1


def test_weak_trials_stop_at_a_rung_and_save_their_epochs(tmp_path: Path) -> None:
    runner = Runner()
    trials = found(tmp_path / "study", runner)
    assert {trial.state for trial in trials} >= {"PRUNED", "COMPLETE"}
    assert runner.epochs == sum(leg.until - leg.since for leg in set_of(runner.legs)) < 12 * 9 / 2
    assert all(trial.epochs == 9 for trial in trials if trial.state == "COMPLETE")


def set_of(legs: Sequence[Leg]) -> list[Leg]:
    return [leg for i, leg in enumerate(legs) if leg not in legs[:i]]


def test_new_trials_train_beside_those_that_go_on_so_that_workers_have_enough_to_do(
    tmp_path: Path,
) -> None:
    rounds: list[Sequence[Leg]] = []

    def run(legs: Sequence[Leg]) -> list[Report]:
        rounds.append(legs)
        return Runner()(legs)

    (tmp_path / "study").mkdir()
    list(search(TUNE.model_copy(update={"trials": 40}), run, seed=0, folder=tmp_path / "study"))
    assert {0, 1} in ({leg.since for leg in legs} for legs in rounds)
    assert any({0, 3} <= {leg.since for leg in legs} for legs in rounds)
    for legs in (
        rounds
    ):  # the longest first, and none longer than all new ones twice: all would wait for it
        assert [leg.number for leg in legs] == sorted(leg.number for leg in legs)
        assert all(leg.until - leg.since <= 8 for leg in legs)


def test_nobody_goes_far_by_being_first_but_the_best_of_few_does_at_the_end(tmp_path: Path) -> None:
    runner, space = Runner(), {"x": TUNE.space["x"]}
    trials = found(tmp_path / "many", runner, space=space, known=[], trials=40)
    for rung, following in ((1, 3), (3, 9)):
        came = [i for i, leg in enumerate(runner.legs) if leg.until == rung]
        assert (
            next(i for i, leg in enumerate(runner.legs) if rung <= leg.since < following) > came[2]
        )
    assert 1 < sum(trial.state == "COMPLETE" for trial in trials) < 10
    few = found(tmp_path / "few", space=space, known=[], trials=2)
    assert sorted(trial.epochs for trial in few) == [1, 9]


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_any_sampler_goes_with_any_pruner_and_is_repeatable(
    tmp_path: Path, sampler: str, pruner: str
) -> None:
    one, two = (
        found(tmp_path / name, sampler=sampler, pruner=pruner, trials=9, batch=3) for name in "ab"
    )
    assert one == two and len(one) == 9
    finished = [trial for trial in one if trial.state == "COMPLETE"]
    assert finished and (pruner != "none" or not any(trial.state == "PRUNED" for trial in one))


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_a_sampler_that_learns_ends_up_near_the_best(tmp_path: Path, sampler: str) -> None:
    def distance(name: str) -> float:
        """From the best, of the later trials."""
        late = [
            trial.values
            for trial in found(tmp_path / name, sampler=name, trials=32, known=[])[-16:]
        ]
        return sum(abs(values["x"] - 0.3) + (values["kind"] != "good") for values in late)

    assert distance(sampler) < distance("random") / 1.5


def test_no_batch_begins_once_the_budget_of_epochs_is_spent(tmp_path: Path) -> None:
    whole, short = found(tmp_path / "whole"), found(tmp_path / "short", epochs=5)
    assert 4 < len(short) < 12
    assert [trial.values for trial in short] == [trial.values for trial in whole[: len(short)]]
    assert all(trial.state != "RUNNING" for trial in short)


def test_a_failed_trial_is_told_as_such_and_the_search_goes_on(tmp_path: Path) -> None:
    trials = found(tmp_path / "study")
    assert len(trials) == 12
    assert {trial.state for trial in trials if trial.values["kind"] == "broken"} == {"FAIL"}


def test_what_fails_on_its_way_to_a_rung_is_told_there_and_again_the_same(tmp_path: Path) -> None:
    def late(legs: Sequence[Leg]) -> list[Report]:
        return [Report(None if leg.until > 5 else score(leg)) for leg in legs]

    (tmp_path / "study").mkdir()
    tune = TUNE.model_copy(update={"space": {"x": TUNE.space["x"]}, "known": []})
    trials = list(search(tune, late, seed=0, folder=tmp_path / "study"))
    assert {(trial.state, trial.epochs) for trial in trials} == {
        ("PRUNED", 1),
        ("PRUNED", 3),
        ("FAIL", 3),
    }
    assert list(search(tune, late, seed=0, folder=tmp_path / "study")) == trials


# ---- limits and a second objective ----


def test_what_is_beyond_a_limit_is_not_trained(tmp_path: Path) -> None:
    runner = Runner()
    trials = found(tmp_path / "study", runner, limits={"parameters": 1200.0}, trials=24)
    beyond = {trial.number for trial in trials if trial.costs["parameters"] > 1200}
    assert beyond and not beyond & {leg.number for leg in runner.legs}
    assert all(
        trial.state == "PRUNED" and trial.epochs == 0 for trial in trials if trial.number in beyond
    )
    (stored,) = studies_in(tmp_path / "study")
    assert {trial.number for trial in stored if trial.constraints["parameters"] > 0} == beyond


def studies_in(folder: Path) -> list[list[optuna.trial.FrozenTrial]]:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    return [
        optuna.load_study(study_name=name, storage=storage).trials
        for name in optuna.get_all_study_names(storage)
    ]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_two_objectives_prune_nothing_and_limits_hold_with_them(
    tmp_path: Path, sampler: str
) -> None:
    changes = {
        "minimise": "parameters",
        "limits": {"parameters": 1500.0},
        "sampler": sampler,
        "trials": 12,
    }
    one, two = (found(tmp_path / name, **changes) for name in "ab")
    assert one == two
    for trial in one:
        assert (trial.state == "PRUNED") == (trial.costs["parameters"] > 1500)
        assert trial.state != "COMPLETE" or trial.scores.keys() == {9}
    (stored,) = studies_in(tmp_path / "a")
    assert all(
        trial.values[1] == trial.user_attrs["costs"]["parameters"]
        for trial in stored
        if trial.values
    )


# ---- stopped, and begun again ----


@pytest.mark.parametrize("tenth", range(0, 10, 2))
def test_a_stopped_search_ends_as_an_undisturbed_one_and_repeats_no_leg(
    tmp_path: Path, tenth: int
) -> None:
    whole = Runner()
    expected = found(tmp_path / "whole", whole)
    first = Runner(stop_after=len(whole.legs) * tenth // 10)
    with pytest.raises(Stopped):
        found(tmp_path / "broken", first)
    second = Runner(first.legs)
    assert found(tmp_path / "broken", second) == expected
    assert first.legs + second.legs == whole.legs


def test_what_the_study_knows_is_not_done_again_even_without_checkpoints(tmp_path: Path) -> None:
    expected = found(tmp_path / "study")
    again = Runner()
    assert found(tmp_path / "study", again) == expected and not again.legs


def test_no_trial_is_left_running_in_the_study(tmp_path: Path) -> None:
    whole = Runner()
    found(tmp_path / "whole", whole, trials=24)
    with pytest.raises(Stopped):
        found(tmp_path / "study", Runner(stop_after=len(whole.legs) - 1), trials=24)
    (stored,) = studies_in(tmp_path / "study")
    assert stored and all(trial.state.is_finished() for trial in stored)


@pytest.mark.parametrize("cut", [1, 30, 300])
def test_a_torn_end_of_the_study_and_a_lock_left_behind_do_no_harm(
    tmp_path: Path, cut: int
) -> None:
    expected = found(tmp_path / "study")
    path = tmp_path / "study" / "study.journal"
    path.write_bytes(path.read_bytes()[:-cut])
    Path(f"{path}.lock").symlink_to(path)
    assert found(tmp_path / "study") == expected == found(tmp_path / "study")


# ---- storage ----


def test_any_optuna_storage_will_do_and_gives_the_same_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = found(tmp_path / "study")
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    monkeypatch.setenv("IMAGETRAIL_OPTUNA_STORAGE", url)
    assert found(tmp_path / "other", Runner()) == expected
    again = Runner()
    assert found(tmp_path / "other", again) == expected and not again.legs
    assert [len(trials) for trials in studies(url)] == [12]


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "nosuch://host/name",
        "sqlite:////no/where/x.db",
        "postgresql+pg8000://ada:secret@127.0.0.1:1/x",
    ],
)
def test_a_storage_that_cannot_be_reached_is_one_line_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("IMAGETRAIL_OPTUNA_STORAGE", url)
    with pytest.raises(
        UserError, match="^IMAGETRAIL_OPTUNA_STORAGE: the study cannot be read or written: "
    ) as caught:
        found(tmp_path / "study")
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_damaged_study_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    found(tmp_path / "study")
    path = tmp_path / "study" / "study.journal"
    path.write_bytes(b"{nonsense\n" + path.read_bytes())
    with pytest.raises(UserError, match=f"^{path}: the study cannot be read or written: "):
        found(tmp_path / "study")


# ---- the space ----


def space(**fields: Any) -> Space:
    return check(Space, fields, "tune.space")


def test_values_are_typed_as_the_recipe_has_them() -> None:
    found = typed(
        space(batch_size={"low": 32, "high": "64"}, lr=["1e-2", 1], flip=[True, False]),
        RECIPE,
        "tune.space",
    )
    assert found == {"batch_size": Range(low=32, high=64), "lr": [0.01, 1.0], "flip": [True, False]}
    assert isinstance(found["batch_size"].low, int) and isinstance(found["lr"][1], float)


def test_whole_numbers_stay_whole_and_a_field_may_depend_on_another(tmp_path: Path) -> None:
    fields = {
        "lr": {
            "by": "optimiser",
            "muon": {"low": 0.01, "high": 0.1, "log": True},
            "adamw": [0.001],
        },
        "shift": {"by": "flip", True: {"low": 1, "high": 3}},
        "optimiser": ["adamw", "muon", "sgd"],
        "flip": [True, False],
        "batch_size": {"low": 32, "high": 512, "log": True},
    }
    tune = Tune(
        trials=40, batch=4, rungs=[1, 3], images=None, space=space(**fields), known=[{"lr": 0.05}]
    )
    tune = resolve(tune, RECIPE, "tune")

    def run(legs: Sequence[Leg]) -> list[Report]:
        return [Report(leg.until + leg.values.get("lr", 0)) for leg in legs]

    trials = [trial.values for trial in search(tune, run, seed=0, folder=tmp_path)]
    assert trials[1]["lr"] == 0.05 and trials[1]["optimiser"] == "muon"
    for values in trials:
        assert type(values["batch_size"]) is int and 32 <= values["batch_size"] <= 512
        assert values.get("lr") == {"sgd": None, "adamw": 0.001}.get(
            values["optimiser"], values.get("lr")
        )
        assert values["optimiser"] != "muon" or 0.01 <= values["lr"] <= 0.1
        assert (values.get("shift") in (1, 2, 3)) == values["flip"]
    assert {values["optimiser"] for values in trials} == {"adamw", "muon", "sgd"}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"widht": [1.0]},
            "tune.space.widht: recipe has no such field; did you mean 'width'?",
        ),
        (
            {"epochs": [3, 9]},
            "tune.space.epochs: how long a trial lasts is not searched; ",
        ),
        ({"lr": [0.1, -1]}, "tune.space.lr: input should be greater than 0, not -1"),
        ({"lr": 0.1}, "tune.space.lr: input should be a valid list, not 0.1"),
        ({"lr": []}, "tune.space.lr: list should have at least 1 item"),
        ({"lr": {"low": 0.1}}, "tune.space.lr.high: missing"),
        ({"lr": {"low": 0.1, "high": 0.2, "step": 1}}, "tune.space.lr.step: unknown key"),
        (
            {"lr": {"low": 0, "high": 0.1, "log": True}},
            "tune.space.lr: low must be below high, and above 0 if log",
        ),
        (
            {"batch_size": {"low": 2.5, "high": 9}},
            "tune.space.batch_size: input should be a valid integer",
        ),
        (
            {"flip": {"low": 0, "high": 1}},
            "tune.space.flip: either true or false, not a range; give a list",
        ),
        (
            {"activation": ["relu", "rleu"]},
            "tune.space.activation: unknown activation 'rleu'; did you mean 'relu'?",
        ),
        (
            {"lr": {"by": "optimiser", "muon": [1]}},
            "tune.space.lr.by: optimiser is not searched as a list; ",
        ),
        (
            {"optimiser": ["muon", "sgd"], "lr": {"by": "optimiser", "moun": [1]}},
            "tune.space.lr: optimiser is never moun; choose from muon, sgd",
        ),
        (
            {"optimiser": ["muon", "sgd"], "lr": {"by": "optimiser", "muon": [-1]}},
            "tune.space.lr.muon.lr: input should be greater than 0, not -1",
        ),
    ],
)
def test_a_wrong_space_is_one_line_that_names_the_field(fields: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        typed(space(**fields), RECIPE, "tune.space")
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("known", "line"),
    [
        ({"lr": 5.0}, "tune.known.1.lr: 5.0 is not in tune.space.lr"),
        ({"lr": "fast"}, "tune.known.1.lr: input should be a valid number"),
        ({"width": 2}, "tune.known.1: width is not searched; choose from lr"),
    ],
)
def test_known_values_are_checked_against_the_space(known: dict[str, Any], line: str) -> None:
    tune = Tune(
        trials=1,
        batch=1,
        rungs=[1],
        images=None,
        space=space(lr={"low": 0.01, "high": 1}),
        known=[{}, known],
    )
    with pytest.raises(UserError) as caught:
        resolve(tune, RECIPE, "tune")
    assert str(caught.value).startswith(line)


def test_unknown_samplers_pruners_and_costs_are_refused_with_those_there_are() -> None:
    wrong = {"sampler": "tep", "pruner": "medain", "minimise": "flops", "limits": {"params": 3}}
    with pytest.raises(UserError) as caught:
        check(
            Tune,
            {"trials": 1, "batch": 1, "rungs": [1], "images": None, "space": {"lr": [1]}} | wrong,
            "tune",
        )
    said = str(caught.value).splitlines()
    assert len(said) == 4
    for name, line in zip(("tpe", "median", "flops_forward", "parameters"), said, strict=True):
        assert f"'{name}'" in line or name in line


def test_cases_and_ranges_survive_a_round_trip() -> None:
    fields = space(optimiser=["muon"], lr={"by": "optimiser", "muon": {"low": 0.1, "high": 1}})
    assert isinstance(fields["lr"], By)
    dumped = Tune(trials=1, batch=1, rungs=[1], images=None, space=fields).model_dump()
    assert check(Tune, dumped, "tune").space == fields
