"""`imagetrail tune` as users run it: the same trials.csv, whatever stops it, whoever works."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna  # noqa: TID251  tests look at what users see
import pytest
import services
from project import finished, wait_for
from training_project import SIGNALS, TrainingProject

from imagetrail.base.files import read_csv

KILLS = int(os.environ.get("IMAGETRAIL_TEST_KILLS", "3"))
TUNE = {
    "trials": 6,
    "batch": 2,
    "rungs": [1, 2],
    "images": 400,
    "space": {
        "activation": ["relu", "silu"],
        "optimiser": ["muon", "adamw"],
        "lr": {
            "by": "optimiser",
            "muon": {"low": 0.05, "high": 0.2},
            "adamw": {"low": 0.001, "high": 0.01, "log": True},
        },
        "augmented": [0.0, 0.3],
    },
}


class Search(TrainingProject):
    """A folder with all that `imagetrail tune` reads."""

    stage = "tune"

    def build(self) -> None:
        super().build()
        shutil.rmtree(self.root / "artifacts/tune")
        self.set(
            recipe={"model": "mlp", "ema": 0.9, "mixup": 0.0, "cutmix": 0.0, "repeat_to": 0},
            tune=TUNE,
        )

    def tune(self, **environment: str) -> str:
        return self.complete(**environment)

    def rows(self) -> list[dict[str, str]]:
        return read_csv(self.root / "artifacts/tune/trials.csv")

    def legs(self) -> int:
        """How many epochs of trials are done."""
        return sum(map(len, map(read_csv, self.root.glob(".imagetrail/trainings/*/history.csv"))))

    def histories(self) -> dict[str, int]:
        """When each training has last written its history."""
        files = self.root.glob(".imagetrail/trainings/*/history.csv")
        return {file.parent.name: file.stat().st_mtime_ns for file in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Search, str, float]:
    """A project in which `imagetrail tune` has run once, its output, and its seconds."""
    made = Search(tmp_path_factory.mktemp("undisturbed"))
    made.build()
    before = time.monotonic()
    said = made.tune(IMAGETRAIL_WORKERS="1")
    return made, said, time.monotonic() - before


@pytest.fixture
def project(undisturbed: tuple[Search, str, float], tmp_path: Path) -> Iterator[Search]:
    made = undisturbed[0].copy(tmp_path / "project")
    made.forget()
    yield made
    made.end()


def test_trials_csv_has_the_state_the_epochs_the_score_and_every_searched_field(
    undisturbed: tuple[Search, str, float],
) -> None:
    search, said, _ = undisturbed
    rows = search.rows()
    assert list(rows[0]) == [
        "number",
        "state",
        "epochs",
        "value",
        *sorted(TUNE["space"]),
    ]  # in the order of the file
    assert [row["number"] for row in rows] == [str(number) for number in range(6)]
    assert {row["state"] for row in rows} == {"COMPLETE", "PRUNED"}
    assert all(0.05 <= float(row["lr"]) <= 0.2 for row in rows if row["optimiser"] == "muon")
    assert len(said.splitlines()) == 1 + 6 + 1  # what it is for, a line a trial, where to look
    front = read_csv(search.root / "artifacts/tune/pareto.csv")
    assert max(float(row["value"]) for row in rows if row["state"] == "COMPLETE") == float(
        front[-1]["value"]
    )
    assert list(front[0]) == ["number", "value", "flops_forward", "parameters"]


@pytest.mark.slow
def test_killed_at_random_moments_and_re_run_with_other_workers_it_leaves_the_same_outs(
    undisturbed: tuple[Search, str, float], project: Search
) -> None:
    (search, _, length), kills = undisturbed, 0
    rng = random.Random(KILLS)
    while kills < KILLS:
        process = project.start(IMAGETRAIL_WORKERS=rng.choice(["1", "2"]))
        time.sleep(rng.uniform(0.3, 0.9) * length)
        before, code = project.legs(), process.poll()
        process.kill()
        process.communicate()
        wait_for(lambda: not project.processes())  # its workers end with it
        assert project.legs() >= before
        if code is None:
            kills += 1
        else:
            assert code == 0 and project.outs() == search.outs()
            project.forget()
    project.tune(IMAGETRAIL_WORKERS="2")
    assert project.outs() == search.outs()
    (journal,) = project.root.glob(".imagetrail/tune/*/study.journal")
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(journal))
    )
    (name,) = optuna.get_all_study_names(storage)
    assert all(
        trial.state.is_finished()
        for trial in optuna.load_study(study_name=name, storage=storage).trials
    )


@pytest.mark.parametrize("number", SIGNALS[1:])
def test_asked_to_stop_it_does_not_wait_for_trainings_under_way(
    project: Search, number: signal.Signals
) -> None:
    project.set(tune={"rungs": [100_000]})  # which take hours
    process = project.start()
    wait_for(lambda: any(project.root.glob(".imagetrail/trainings/*/begun")), process)
    process.send_signal(number)
    code, _, told = finished(process)
    assert code == 128 + number and "Traceback" not in told
    assert not project.processes()


@pytest.mark.slow
def test_a_changed_space_begins_a_new_study_keeps_the_old_one_and_says_so(
    undisturbed: tuple[Search, str, float], tmp_path: Path
) -> None:
    search, *_ = undisturbed
    project = search.copy(tmp_path / "project")
    (old,) = project.root.glob(".imagetrail/tune/*")
    journal = (old / "study.journal").read_bytes()
    project.set(tune={"space": {"lr": [0.1, 0.2]}, "trials": 2})
    _, first, *_ = project.tune().splitlines()
    kept = old.relative_to(project.root)
    assert first == (
        "tune.trials, tune.space changed: a new study begins; "
        f"the last one is kept in {kept}, and trainings that are the same are not repeated"
    )
    assert (old / "study.journal").read_bytes() == journal
    project.set(tune=TUNE)
    before = project.legs()
    assert "changed" not in project.tune() and project.legs() == before
    assert project.outs() == search.outs()


@pytest.mark.slow
def test_more_trials_repeat_no_training_and_end_as_if_they_had_been_asked_for_at_once(
    undisturbed: tuple[Search, str, float], project: Search, tmp_path: Path
) -> None:
    search, *_ = undisturbed
    longer = search.copy(tmp_path / "longer")
    before, histories = longer.rows(), longer.histories()
    for each in (longer, project):
        each.set(tune={"trials": 8})
        each.tune()
    assert longer.outs() == project.outs() != search.outs()
    pairs = zip(before, longer.rows(), strict=False)
    went_on = sum(int(old["epochs"]) < int(new["epochs"]) for old, new in pairs)
    written = histories.items() ^ longer.histories().items()
    assert len({training for training, _ in written}) == went_on + 2


def test_a_search_that_minimises_a_cost_has_its_front_in_the_order_of_the_first_one(
    project: Search,
) -> None:
    project.set(tune={"minimise": "parameters", "space": {"width": [0.5, 1.0], "lr": [0.05, 0.1]}})
    project.tune()
    front = read_csv(project.root / "artifacts/tune/pareto.csv")
    assert list(front[0])[2:] == ["parameters", "flops_forward"]
    parameters = [int(float(row["parameters"])) for row in front]
    assert parameters == sorted(parameters)


def test_twins_are_trained_once(project: Search) -> None:
    """Two trials may draw the same; both have its score, whichever worker has trained it."""
    project.set(tune={"trials": 4, "batch": 4, "rungs": [1], "space": {"activation": ["relu"]}})
    project.tune(IMAGETRAIL_WORKERS="2")
    assert len(project.histories()) == 1 and project.legs() == 1
    assert len({row["value"] for row in project.rows()}) == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"limits": {"parameters": 10}},
            "error: no trial finished; 2 of 2 were beyond tune.limits: "
            "parameters 10 (the least was 19210)",
        ),
        (
            {"space": {"lr": [1000.0], "weight_decay": [1000.0]}},
            "error: no trial finished; 2 of 2 failed: narrow tune.space, for example to lower lr",
        ),
        (
            {"space": {"augmented": [0.5], "synthetic": [0.6]}},
            "error: recipe: augmented + synthetic + related is 1.1; at most 1",
        ),
    ],
    ids=["beyond", "failed", "shares"],
)
def test_a_search_that_finds_nothing_is_one_line(
    project: Search, changes: dict[str, Any], line: str
) -> None:
    project.set(tune={"trials": 2, **changes})
    if "lr" in changes.get("space", {}):
        project.set(recipe={"optimiser": "sgd"})
    code, _, told = finished(project.start())
    assert code == 1 and told.splitlines()[-1] == line and "Traceback" not in told


# ---- PostgreSQL ----


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address of a server of its own."""
    server = services.PostgreSQL()
    try:
        yield server.address()
    finally:
        server.stop()


@pytest.mark.slow
def test_a_study_in_postgresql_gives_the_same_outs_and_outlives_the_folder(
    undisturbed: tuple[Search, str, float], project: Search, postgresql: str
) -> None:
    search, *_ = undisturbed
    project.tune(IMAGETRAIL_OPTUNA_STORAGE=postgresql)
    assert project.outs() == search.outs()
    (name,) = optuna.get_all_study_names(postgresql)
    trials = optuna.load_study(study_name=name, storage=postgresql).trials
    assert [trial.state.name for trial in trials] == [row["state"] for row in search.rows()]
    project.forget()
    project.tune(IMAGETRAIL_OPTUNA_STORAGE=postgresql)
    assert project.legs() == 0 and project.outs()["trials.csv"] == search.outs()["trials.csv"]
