"""`imagetrail train` as users run it: exact to the byte, whatever stops it and how often; alone and as several processes."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml
from mlflow import MlflowClient  # noqa: TID251  tests look at what users see
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from imagetrail.base import samples
from imagetrail.base.samples import Samples
from imagetrail.tracking.store import open_store
from imagetrail.training import checkpoints
from imagetrail.training.batches import Mixture
from imagetrail.training.loop import fit, start
from imagetrail.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("IMAGETRAIL_TEST_KILLS", "5"))
# One that is ignored, as SIGINT is in the background of a shell, stays ignored.
SIGNALS = [
    number
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    if signal.getsignal(number) is not signal.SIG_IGN
]
STOPPED = "stopped; nothing half-written is left, run the same command again to go on"

ALONE = ("imagetrail", "train")
TORCHRUN = (
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "--max-restarts",
    "2",
)
TOGETHER = (*TORCHRUN, "-m", "imagetrail.cli", "train")

PARTS = {
    "split/train": slice(0, 900),
    "augmented": slice(900, 1100),
    "synthetic": slice(1100, 1200),
    "split/related": slice(0, 0),
    "split/valid": slice(1200, 1797),
}
RECIPE = {  # everything that draws, and all the state that there can be
    "optimiser": "muon",
    "ema": 0.98,
    "batch_size": 128,
    "dropout": 0.1,
    "flip": True,
    "shift": 1,
    "rotate": 10,
    "zoom": 0.1,
    "cutout": 2,
    "mixup": 0.2,
    "cutmix": 0.5,
    "augmented": 0.2,
    "synthetic": 0.1,
    "repeat_to": 32400,  # an epoch takes longer than the second after which a checkpoint is due
}


class Project:
    """A folder with all that `imagetrail train` reads."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def build(self) -> None:
        """Scikit-learn's digits as the stages before train would leave them."""
        shutil.copy(ROOT / "dvc.yaml", self.root)
        digits = load_digits()
        images = (digits.images * 15.9375).astype(np.uint8)[..., None]
        for name, part in PARTS.items():
            ids = [f"{name}{i}" for i in range(len(digits.target[part]))]
            index = samples.make_index(
                ids=ids, labels=digits.target[part], origin="real", sources=ids
            )
            classes = [str(kind) for kind in range(10)]
            samples.write(
                self.root / "data" / name, [images[part]], index, classes=classes, shape=(8, 8, 1)
            )
        for stage in ("compare", "pretrain", "tune"):
            (self.root / "artifacts" / stage).mkdir(parents=True)
        save_file({}, self.root / "artifacts/pretrain/weights.safetensors")
        (self.root / "artifacts/tune/best.yaml").write_text("activation: silu\n")
        (self.root / "artifacts/compare/cures.yaml").write_text("{}\n")
        shutil.copy(ROOT / "params.yaml", self.root)
        self.set(data={"name": "digits", "image_size": 8}, recipe=RECIPE, train={"epochs": 2})
        open_store(self.root)  # here: it takes seconds to make MLflow's database

    def set(self, **changes: Any) -> None:
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for name, value in changes.items():
            params[name] = params[name] | value if isinstance(value, dict) else value
        path.write_text(yaml.safe_dump(params))

    def forget(self) -> None:
        """As if train had never run."""
        for folder in (".imagetrail", "artifacts/train"):
            shutil.rmtree(self.root / folder, ignore_errors=True)

    def start(self, command: Sequence[str] = ALONE) -> subprocess.Popen[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        env = {"OMP_NUM_THREADS": "1"} | env  # the fastest for so small a network
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: Sequence[str] = ALONE) -> str:
        """What the command says on stdout; it must end well."""
        code, said, told = ended(self.start(command))
        assert code == 0, said + told
        return said

    def outs(self) -> dict[str, str]:
        """A hash of every file that the stage has left, but for what tells of this very run."""
        files = (self.root / "artifacts/train").iterdir()
        return {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.name != "timing.json"
        }

    def json(self, name: str) -> Any:
        return json.loads((self.root / "artifacts/train" / name).read_text())

    def begun(self) -> int:
        """When the stage last opened its state, which it does as soon as it has read its inputs; 0: never."""
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

    def running(self) -> list[psutil.Process]:
        """The processes that work in this folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cwd() == str(self.root):
                    found.append(process)
        return found

    def rank(self, number: int) -> psutil.Process:
        """One of the processes that torchrun has started."""
        (found,) = [
            process for process in self.running() if process.environ().get("RANK") == str(number)
        ]
        return found

    def statuses(self) -> list[str]:
        """How the runs of train have ended in MLflow, oldest first."""
        client = MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")
        (experiment,) = [found for found in client.search_experiments() if found.name == "digits"]
        wanted = "tags.`imagetrail.stage` = 'train'"
        return [
            run.info.status
            for run in client.search_runs(
                [experiment.experiment_id], wanted, order_by=["start_time"]
            )
        ]


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    said, told = process.communicate(timeout=300)
    return process.returncode, said, told


def wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    """Waits for what must come about while the process runs."""
    deadline = (
        time.monotonic() + 300
    )  # a busy machine is slow; one that hangs is not waited for for ever
    while not until():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def resumed(said: str) -> list[tuple[int, int]]:
    """Where the trainings that said this went on from: epochs, and steps of the next one."""
    return [
        (int(epoch), int(step))
        for epoch, step in re.findall(r"^resuming after epoch (\d+), step (\d+)$", said, re.M)
    ]


def copied(project: Project, root: Path) -> Project:
    """The project as if train had never run, but for what MLflow knows."""
    shutil.copytree(project.root, root)
    made = Project(root)
    made.forget()
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which `imagetrail train` has run once."""
    made = Project(tmp_path_factory.mktemp("undisturbed"))
    made.build()
    made.run()
    return made


@pytest.fixture(scope="module")
def together(undisturbed: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project in which torchrun has trained with two processes, and what they said."""
    made = copied(undisturbed, tmp_path_factory.mktemp("together") / "project")
    return made, made.run(TOGETHER)


@pytest.fixture
def project(undisturbed: Project, tmp_path: Path) -> Iterator[Project]:
    """A project in which nothing has run; what a failed test leaves running there ends with it."""
    made = copied(undisturbed, tmp_path / "project")
    yield made
    for process in made.running():
        with suppress(psutil.NoSuchProcess):
            process.kill()


# ---- one process ----


def test_same_inputs_give_the_same_bytes(undisturbed: Project, project: Project) -> None:
    expected = undisturbed.outs()
    project.run()
    assert project.outs() == expected
    project.set(seed=1)
    project.forget()
    project.run()
    other = project.outs()
    assert other.keys() == expected.keys()
    assert {name for name in other if other[name] != expected[name]} >= {
        "model.safetensors",
        "history.csv",
    }
    assert other["recipe.json"] == expected["recipe.json"]


def test_killed_at_random_moments_and_re_run_the_outs_are_those_of_an_undisturbed_run(
    undisturbed: Project, project: Project
) -> None:
    expected, length = undisturbed.outs(), undisturbed.json("timing.json")["seconds"]
    rng, kills, everything = random.Random(KILLS), 0, ""
    while kills < KILLS:
        number, before, process = SIGNALS[kills % len(SIGNALS)], project.begun(), project.start()
        wait(process, lambda before=before: project.begun() != before)
        time.sleep(rng.uniform(0, 0.7 * length))
        process.send_signal(number)
        code, said, told = ended(process)
        assert project.running() == []
        everything += said
        if code == 0:  # all was done before the signal came
            assert project.outs() == expected
            project.forget()
        else:
            assert code in (-number, 128 + number), told
            kills += 1
    everything += project.run()
    assert project.outs() == expected
    assert any(step > 0 for _, step in resumed(everything)), (
        "no training went on in the middle of an epoch"
    )


def test_sigterm_writes_a_last_checkpoint_ends_with_143_and_is_killed_in_mlflow(
    project: Project,
) -> None:
    process = project.start()
    wait(process, project.logged)
    time.sleep(0.2)  # some steps, but not the second after which the next checkpoint is due
    process.terminate()
    code, _, told = ended(process)
    assert code == 143 and told.splitlines()[-1] == STOPPED and "Traceback" not in told
    assert (1, 0) < project.position() < (2, 0)
    assert project.statuses() == ["FINISHED", "KILLED"]
    assert not (project.root / "artifacts/train").exists()


def test_a_damaged_checkpoint_is_told_in_one_line_and_training_starts_anew(
    undisturbed: Project, project: Project
) -> None:
    shutil.copytree(undisturbed.root / ".imagetrail", project.root / ".imagetrail")
    (checkpoint,) = project.root.glob(".imagetrail/train/*/checkpoint.safetensors")
    os.truncate(checkpoint, checkpoint.stat().st_size // 2)
    code, said, told = ended(project.start())
    (line,) = [line for line in said.splitlines() if "damaged" in line]
    assert line.startswith(str(checkpoint.relative_to(project.root))) and line.endswith(
        "; starting anew"
    )
    assert code == 0 and "Traceback" not in told and resumed(said) == []
    assert project.outs() == undisturbed.outs()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda whole: whole[:0], id="empty"),
        pytest.param(lambda whole: whole[:100], id="cut in the header"),
        pytest.param(lambda whole: whole[:-1], id="cut by a byte"),
        pytest.param(lambda whole: bytes(len(whole)), id="zeros"),
        pytest.param(lambda whole: whole.replace(b'"at"', b'"AT"', 1), id="without a position"),
        pytest.param(
            lambda whole: whole.replace(b'"at":"{', b'"at":"[', 1), id="an unreadable position"
        ),
    ],
)
def test_a_checkpoint_damaged_in_any_way_counts_as_none(
    toy: Callable[..., Samples],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes],
) -> None:
    recipe, train = Recipe(model="linear", activation="relu", epochs=1, lr=0.1), toy()
    done, path = start(recipe, train, seed=0), tmp_path / "checkpoint.safetensors"
    assert len(list(fit(done, Mixture(train), train))) == 1
    checkpoints.save(path, done)
    path.write_bytes(damage(path.read_bytes()))
    anew = start(recipe, train, seed=0)
    checkpoints.restore(path, anew)
    assert anew.epoch == 0 and len(capsys.readouterr().out.splitlines()) == 1
    other = start(recipe, train, seed=0)
    assert all(map(torch.equal, anew.model.parameters(), other.model.parameters()))


# ---- several processes ----


def test_torchrun_trains_one_model_as_good_as_that_of_one_process(
    undisturbed: Project, together: tuple[Project, str]
) -> None:
    project, said = together
    assert [line.split("/")[0] for line in said.splitlines() if line] == ["epoch   1", "epoch   2"]
    assert project.outs().keys() == undisturbed.outs().keys()
    assert project.outs()["recipe.json"] == undisturbed.outs()["recipe.json"]
    assert project.statuses() == ["FINISHED", "FINISHED"]
    assert (
        project.json("timing.json")["processes"] == 2
        and undisturbed.json("timing.json")["processes"] == 1
    )
    alone, both = (made.json("metrics.json")["valid_top1"] for made in (undisturbed, project))
    assert alone > 0.85
    count = len(range(1797)[PARTS["split/valid"]])
    noise = (
        2 * alone * (1 - alone) / count
    ) ** 0.5  # of the difference of two models on so many images
    assert both == pytest.approx(alone, abs=3 * noise)


def test_torchrun_restarts_after_a_killed_process_resumes_and_leaves_the_outs_of_an_undisturbed_run(
    project: Project, together: tuple[Project, str]
) -> None:
    process = project.start(TOGETHER)
    wait(process, lambda: project.position()[1] > 0)
    before = project.position()
    project.rank(0).kill()
    code, said, told = ended(process)
    assert code == 0, told
    (after,) = resumed(said)
    assert after >= before and after[1] > 0
    assert project.outs() == together[0].outs()
    assert project.running() == []


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
    project: Project, number: signal.Signals
) -> None:
    process = project.start(TOGETHER)
    wait(process, project.logged)
    time.sleep(0.2)
    process.send_signal(number)
    code, _, told = ended(process)  # it waits for all that still write to stdout
    assert code != 0 and project.running() == []
    assert (1, 0) < project.position() < (2, 0)
    assert project.statuses() == ["FINISHED", "KILLED"]
    assert not (project.root / "artifacts/train").exists()
    assert STOPPED in told.splitlines()
