"""`imagetrail train` in one process and in several: exact to the byte, whatever stops it."""

import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow_store import free_port
from project import finished, wait_for
from safetensors import safe_open
from training_project import PARTS, SIGNALS, TrainingProject

KILLS = int(os.environ.get("IMAGETRAIL_TEST_KILLS", "5"))
STOPPED = "stopped; nothing half-written is left, run the same command again to go on"
TORCHRUN = "-m torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 2"
TOGETHER = (sys.executable, *TORCHRUN.split(), "-m", "imagetrail.cli", "train")
pytestmark = pytest.mark.slow


class Training(TrainingProject):
    def begun(self) -> int:
        """When the stage last opened its state, right after it had read its inputs; 0: never."""
        return max(
            (folder.stat().st_mtime_ns for folder in self.root.glob(".imagetrail/train/*")),
            default=0,
        )

    def position(self) -> tuple[int, int]:
        """How many epochs, and steps of the next one, the checkpoint holds."""
        for path in self.root.glob(".imagetrail/train/*/checkpoint.safetensors"):
            with safe_open(path, "numpy") as file:
                at = json.loads(file.metadata()["at"])
            return at["epoch"], at["step"]
        return 0, 0

    def logged(self) -> bool:
        """Whether an epoch has ended and is in MLflow: the steps of the next one have begun."""
        histories = self.root.glob(".imagetrail/train/*/history.csv")
        return any(
            path.stat().st_mtime_ns < (self.root / "mlflow.db").stat().st_mtime_ns
            for path in histories
        )

    def rank(self, number: int) -> psutil.Process:
        """One of the processes that torchrun has started."""
        (found,) = [
            process for process in self.processes() if process.environ().get("RANK") == str(number)
        ]
        return found

    def statuses(self) -> list[str]:
        """How the runs of train have ended in MLflow, oldest first."""
        client = self.client()
        (experiment,) = [found for found in client.search_experiments() if found.name == "digits"]
        wanted = "tags.`imagetrail.stage` = 'train'"
        return [
            run.info.status
            for run in client.search_runs(
                [experiment.experiment_id], wanted, order_by=["start_time"]
            )
        ]


def resumed(output: str) -> list[tuple[int, int]]:
    """Where the trainings that output this went on from: epochs, and steps of the next one."""
    return [
        (int(epoch), int(step))
        for epoch, step in re.findall(r"^resuming after epoch (\d+), step (\d+)$", output, re.M)
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A project in which `imagetrail train` has run once."""
    made = Training(tmp_path_factory.mktemp("undisturbed"))
    made.build()
    made.complete()
    return made


@pytest.fixture(scope="module")
def together(
    undisturbed: Training, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Training, str]:
    """A project in which torchrun has trained with two processes, and what they output."""
    made = undisturbed.copy(tmp_path_factory.mktemp("together") / "project")
    made.forget()
    return made, made.complete(*TOGETHER)


@pytest.fixture
def project(undisturbed: Training, tmp_path: Path) -> Iterator[Training]:
    """A project in which nothing has run; what a failed test leaves running there ends with it."""
    made = undisturbed.copy(tmp_path / "project")
    made.forget()
    yield made
    made.end()


# ---- one process ----


def test_same_inputs_give_the_same_bytes(undisturbed: Training, project: Training) -> None:
    expected = undisturbed.outs()
    project.complete()
    assert project.outs() == expected
    project.set(seed=1)
    project.forget()
    project.complete()
    other = project.outs()
    assert other.keys() == expected.keys()
    assert {name for name in other if other[name] != expected[name]} >= {
        "model.safetensors",
        "history.csv",
    }
    assert other["recipe.json"] == expected["recipe.json"]


def test_killed_at_random_moments_and_re_run_the_outs_are_those_of_an_undisturbed_run(
    undisturbed: Training, project: Training
) -> None:
    expected, length = undisturbed.outs(), undisturbed.json("train/timing.json")["seconds"]
    rng, kills, everything = random.Random(KILLS), 0, ""
    while kills < KILLS:
        number, before, process = SIGNALS[kills % len(SIGNALS)], project.begun(), project.start()
        wait_for(lambda before=before: project.begun() != before, process)
        time.sleep(rng.uniform(0, 0.7 * length))
        process.send_signal(number)
        code, output, errors = finished(process)
        assert project.processes() == []
        everything += output
        if code == 0:  # all was done before the signal came
            assert project.outs() == expected
            project.forget()
        else:
            assert code in (-number, 128 + number), errors
            kills += 1
    everything += project.complete()
    assert project.outs() == expected
    assert any(step > 0 for _, step in resumed(everything)), (
        "no training went on in the middle of an epoch"
    )


def test_sigterm_writes_a_last_checkpoint_ends_with_143_and_is_killed_in_mlflow(
    project: Training,
) -> None:
    process = project.start()
    wait_for(project.logged, process)
    time.sleep(0.2)  # some steps, but not the second after which the next checkpoint is due
    process.terminate()
    code, _, errors = finished(process)
    assert code == 143 and errors.splitlines()[-1] == STOPPED and "Traceback" not in errors
    assert (1, 0) < project.position() < (2, 0)
    assert project.statuses() == ["FINISHED", "KILLED"]
    assert not (project.root / "artifacts/train").exists()


def test_a_damaged_checkpoint_is_told_in_one_line_and_training_starts_anew(
    undisturbed: Training, project: Training
) -> None:
    shutil.copytree(undisturbed.root / ".imagetrail", project.root / ".imagetrail")
    (checkpoint,) = project.root.glob(".imagetrail/train/*/checkpoint.safetensors")
    os.truncate(checkpoint, checkpoint.stat().st_size // 2)
    code, output, errors = finished(project.start())
    (line,) = [line for line in output.splitlines() if "damaged" in line]
    assert line.startswith(str(checkpoint.relative_to(project.root))) and line.endswith(
        "; starting anew"
    )
    assert code == 0 and "Traceback" not in errors and resumed(output) == []
    assert project.outs() == undisturbed.outs()


# ---- several processes ----


def test_torchrun_trains_one_model_as_good_as_that_of_one_process(
    undisturbed: Training, together: tuple[Training, str]
) -> None:
    project, output = together
    assert [line.split("/")[0] for line in output.splitlines() if line[:5] == "epoch"] == [
        "epoch   1",
        "epoch   2",
    ]
    assert project.outs().keys() == undisturbed.outs().keys()
    assert project.outs()["recipe.json"] == undisturbed.outs()["recipe.json"]
    assert project.statuses() == ["FINISHED", "FINISHED"]
    assert (
        project.json("train/timing.json")["processes"] == 2
        and undisturbed.json("train/timing.json")["processes"] == 1
    )
    alone, both = (made.json("train/metrics.json")["valid_top1"] for made in (undisturbed, project))
    assert alone > 0.85
    count = len(range(1797)[PARTS["split/valid"]])
    noise = (
        2 * alone * (1 - alone) / count
    ) ** 0.5  # of the difference of two models on so many images
    assert both == pytest.approx(alone, abs=3 * noise)


def hosts(*projects: Training) -> list[tuple[int, str, str]]:
    """Has each of them train as a host of its own; returns how their commands have ended."""
    torchrun = "-m torch.distributed.run --nproc-per-node=1 --master-addr=127.0.0.1"
    where = f"--master-port={free_port()} --nnodes={len(projects)} --node-rank"
    started = [
        host.start(sys.executable, *f"{torchrun} {where}={rank} -m imagetrail.cli train".split())
        for rank, host in enumerate(projects)
    ]
    return [finished(process) for process in started]


def test_two_hosts_with_folders_of_their_own_train_the_model_of_two_processes(
    project: Training, together: tuple[Training, str], tmp_path: Path
) -> None:
    other = project.copy(tmp_path / "other")
    (other.root / "mlflow.db").unlink()  # nothing of the second host goes there
    (other.root / "artifacts/tune/best.yaml").write_text("activation: relu\n")
    for code, output, errors in hosts(project, other):
        assert code != 0
        assert "the hosts do not have the same artifacts/tune/best.yaml, params.yaml; bring" in (
            output + errors
        )
    shutil.copy(project.root / "artifacts/tune/best.yaml", other.root / "artifacts/tune")
    for code, output, errors in hosts(project, other):
        assert code == 0, output + errors
    assert project.outs() == together[0].outs()
    assert not [*other.root.glob("artifacts/train/*.*")]
    assert not (other.root / "mlflow.db").exists()


def test_torchrun_restarts_after_a_killed_process_resumes_and_leaves_the_outs_of_an_undisturbed_run(
    project: Training, together: tuple[Training, str]
) -> None:
    process = project.start(*TOGETHER)
    wait_for(lambda: project.position()[1] > 0, process)
    before = project.position()
    project.rank(0).kill()
    code, output, errors = finished(process)
    assert code == 0, errors
    (after,) = resumed(output)
    assert after >= before and after[1] > 0
    assert project.outs() == together[0].outs()
    assert project.processes() == []


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(
            signal.SIGKILL,
            marks=pytest.mark.skipif(
                sys.platform != "linux", reason="only Linux tells a process of its parent's end"
            ),
        ),
    ],
)
def test_torchrun_stopped_or_killed_leaves_a_last_checkpoint_and_no_process(
    project: Training, number: signal.Signals
) -> None:
    process = project.start(*TOGETHER)
    wait_for(project.logged, process)
    time.sleep(0.2)
    process.send_signal(number)
    code, _, errors = finished(process)  # it waits for all that still write to stdout
    assert code != 0 and project.processes() == []
    assert (1, 0) < project.position() < (2, 0)
    assert project.statuses() == ["FINISHED", "KILLED"]
    assert not (project.root / "artifacts/train").exists()
    assert STOPPED in errors.splitlines()
