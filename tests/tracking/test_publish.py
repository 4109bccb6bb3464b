"""`imagetrail publish` makes MLflow agree with files, and live runs end as their stages do."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow_store import runs, said_of, server
from project import kill, wait_for
from studio import RECIPE, STAGES, Studio

from imagetrail.tracking import turns


def statuses(studio: Studio, stage: str) -> list[str]:
    """How the runs of a stage have ended, oldest first."""
    mine = [run for run in runs(studio.client()) if run.data.tags.get("imagetrail.stage") == stage]
    return [run.info.status for run in sorted(mine, key=lambda run: run.info.start_time)]


def test_below_a_pipeline_run_stand_its_stages_and_below_these_trials_and_arms(
    studio: Studio,
) -> None:
    tree = [(parent, name, status) for parent, name, status, *_ in said_of(studio.client())]
    (pipeline,) = [name for parent, name, _ in tree if not parent]
    assert {name for parent, name, _ in tree if parent == pipeline} == set(STAGES)
    trials = {name: status for parent, name, status in tree if parent == "tune"}
    assert trials == {
        "trial 000 · relu": "FINISHED",
        "trial 001 · silu · pruned at 1": "FINISHED",
        "trial 002 · tanh": "FINISHED",
        "trial 003 · silu · failed": "FAILED",
    }
    assert {name for parent, name, _ in tree if parent == "compare"} == {
        f"{arm} · seed {seed}" for arm in ("relu", "silu") for seed in (0, 1)
    }


def test_trials_arms_and_the_training_have_the_fields_of_the_recipe_as_params_and_nothing_else(
    studio: Studio,
) -> None:
    whole = [run for run in runs(studio.client()) if run.info.run_name not in ("tune", "compare")]
    whole = [run for run in whole if "mlflow.parentRunId" in run.data.tags]
    assert len(whole) == 4 + 4 + 1
    assert {tuple(sorted(run.data.params)) for run in whole} == {tuple(sorted(RECIPE))}
    assert {run.data.params["epochs"] for run in whole} == {"3"}  # asked for, not reached


def test_what_the_training_chose_by_itself_is_in_its_run_though_it_began_without(
    studio: Studio,
) -> None:
    (training,) = [run for run in runs(studio.client()) if run.info.run_name == "train"]
    assert training.data.params["blend"] == "0.5"


def test_tags_tell_trials_and_arms_apart(studio: Studio) -> None:
    tags = [run.data.tags for run in runs(studio.client())]
    assert sorted((tag["trial"], tag["state"], tag["rung"]) for tag in tags if "trial" in tag) == [
        ("0", "COMPLETE", "3"),
        ("1", "PRUNED", "1"),
        ("2", "COMPLETE", "3"),
        ("3", "FAIL", "0"),
    ]
    colours = {(tag["arm"], tag["mlflow.runColor"]) for tag in tags if "arm" in tag}
    assert len(colours) == 2  # one an arm, whatever the seed


def test_live_trials_have_their_own_times(studio: Studio) -> None:
    trials = [run.info for run in runs(studio.client()) if "trial" in run.data.tags]
    assert {info.end_time - info.start_time for info in trials} <= set(range(999, 1002))


def test_the_search_is_pictured_and_its_views_are_offered(studio: Studio) -> None:
    client = studio.client()
    (tune,) = [run.info.run_id for run in runs(client) if run.info.run_name == "tune"]
    pictures = [Path(file.path).name for file in client.list_artifacts(tune, "pictures")]
    assert pictures == ["importance.png", "parallel.png", "trials.png"]
    views = {
        name.rsplit(".", 1)[-1]: value
        for name, value in client.get_experiment_by_name("toy").tags.items()
    }
    assert (
        tune in views["trials"]
        and "params.`activation`" in views["trials"]
        and "activations" in views["arms-1"]
    )


def test_the_score_is_logged_first_as_the_compare_page_draws_the_first_of_all_metrics(
    studio: Studio,
) -> None:
    with closing(sqlite3.connect(studio.root / "mlflow.db")) as database:
        rows = database.execute("SELECT run_uuid, key FROM metrics ORDER BY rowid").fetchall()
    trials = {run.info.run_id for run in runs(studio.client()) if "trial" in run.data.tags}
    first = {run: name for run, name in reversed(rows) if run in trials}
    assert set(first.values()) == {"valid_top1"}


def test_publish_twice_changes_nothing(studio: Studio) -> None:
    def everything() -> list[object]:
        return [
            (run.info.run_id, run.info.status, run.info.end_time, sorted(run.data.tags.items()))
            for run in runs(client)
        ]

    client = studio.client()
    before, said = everything(), said_of(client)
    assert "(0 new runs)" in studio.publish()
    assert everything() == before and said_of(client) == said


@pytest.mark.slow
def test_a_clone_publishes_what_it_has_pulled_to_an_empty_server(
    studio: Studio, tmp_path: Path
) -> None:
    studio.dvc("remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    studio.dvc("push", "--quiet")
    studio.commit()
    studio.run("git", "clone", "--quiet", str(studio.root), str(tmp_path / "clone"))
    clone = Studio(tmp_path / "clone")
    clone.dvc("pull", "--quiet")
    with server(tmp_path / "server") as (address, _):
        clone.publish(MLFLOW_TRACKING_URI=address)
        assert "(0 new runs)" in clone.publish(MLFLOW_TRACKING_URI=address)
        assert said_of(clone.client(address)) == said_of(studio.client())


def test_an_experiment_of_dvc_is_kept_and_listed_and_becomes_a_pipeline_of_its_own_in_mlflow(
    studio: Studio,
) -> None:
    studio.commit()
    studio.dvc("exp", "run", "--name", "other-seed", "--set-param", "seed=1")
    assert "other-seed" in studio.dvc("exp", "show", "--csv")
    studio.publish()
    assert len([name for parent, name, *_ in said_of(studio.client()) if not parent]) == 2


def test_publish_ends_the_runs_of_a_process_that_was_killed(studio: Studio) -> None:
    process = studio.train_until_it_waits()
    wait_for(lambda: "RUNNING" in statuses(studio, "train"))
    studio.publish()
    assert statuses(studio, "train")[-1] == "RUNNING", "the process lives"
    kill(process)
    studio.publish()
    assert statuses(studio, "train")[-1] == "KILLED"
    assert not [run for run in runs(studio.client()) if run.info.status == "RUNNING"]


def test_publish_ends_them_even_if_the_files_of_the_stage_are_gone(studio: Studio) -> None:
    process = studio.train_until_it_waits()
    wait_for(lambda: "RUNNING" in statuses(studio, "train"))
    kill(process)
    (studio.root / "artifacts/train/history.csv").unlink()  # as DVC does before it runs a stage
    assert "history.csv" in studio.publish(ok=False)
    assert statuses(studio, "train")[-1] == "KILLED"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stage_that_is_stopped_is_killed_in_mlflow_and_its_pipeline_with_it(
    studio: Studio, number: int
) -> None:
    process = studio.train_until_it_waits()
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert statuses(studio, "train")[-1] == "KILLED"
    (pending,) = [
        run for run in runs(studio.client()) if run.data.tags.get("imagetrail.version") == "pending"
    ]
    assert pending.info.status == "KILLED"


def test_a_stage_that_fails_has_failed_in_mlflow_until_it_runs_again(studio: Studio) -> None:
    (studio.root / "fail").touch()
    assert "out of luck" in studio.run(sys.executable, "stage.py", "train", ok=False)
    assert statuses(studio, "train")[-1] == "FAILED"
    (studio.root / "fail").unlink()
    studio.run(sys.executable, "stage.py", "train")
    (pending,) = [
        run for run in runs(studio.client()) if run.data.tags.get("imagetrail.version") == "pending"
    ]
    assert statuses(studio, "train")[-1] == "FINISHED" and pending.info.status == "RUNNING"
    assert "(0 new runs)" in studio.publish()  # the results are those it has


def test_another_process_with_the_same_number_is_another() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert turns.is_alive(f"{process.pid} {time.time():.0f}")
        assert not turns.is_alive(f"{process.pid} {time.time() - 3600:.0f}")
        process.communicate(b"\n")
    assert not turns.is_alive(f"{process.pid} {time.time():.0f}")


def test_long_runs_have_system_metrics(studio: Studio) -> None:
    process = studio.train_until_it_waits(MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL="1")
    client = studio.client()
    wait_for(
        lambda: any("system/cpu_utilization_percentage" in run.data.metrics for run in runs(client))
    )
    studio.let_go()
    process.communicate(timeout=60)
    assert process.returncode == 0 and statuses(studio, "train")[-1] == "FINISHED"
