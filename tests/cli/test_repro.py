"""`imagetrail repro` ends with all that it has started, whoever gets the signal."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from project import Project, finished, wait_for

WAIT = """import pathlib, signal, sys, time
from imagetrail.compute.processes import end_with_parent
end_with_parent(signal.SIGTERM)  # as the command line has it
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
pathlib.Path("waiting").touch()
while pathlib.Path("wait").exists():
    time.sleep(0.02)
pathlib.Path("out").touch()
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """One stage, which waits as long as a file is there."""
    made = Project(tmp_path / "repo")
    made.init()
    made.set()
    (made.root / "wait.py").write_text(WAIT)
    stage = f"stages:\n  wait:\n    cmd: exec {sys.executable} wait.py\n    outs: [out]\n"
    (made.root / "dvc.yaml").write_text(stage)
    (made.root / "wait").touch()
    yield made
    for process in made.processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()


def begin(project: Project, shell: str = "/bin/sh") -> subprocess.Popen[str]:
    """Starts it, and waits until its stage runs, which DVC starts by that shell."""
    process = project.start(sys.executable, "-m", "imagetrail.cli", "repro", SHELL=shell)
    wait_for((project.root / "waiting").exists, process)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_it_alone_ends_dvc_and_the_stage(
    project: Project, number: signal.Signals
) -> None:
    process = begin(project)
    process.send_signal(number)
    code, _, errors = finished(process)
    assert code == 128 + number and "Traceback" not in errors
    assert project.processes() == [] and not (project.root / "dvc.lock").exists()
    (project.root / "wait").unlink()
    project.imagetrail("repro")
    assert (project.root / "out").exists()


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])  # dash waits, bash makes way
def test_killed_it_leaves_no_process(project: Project, shell: str) -> None:
    process = begin(project, shell)
    process.kill()
    process.wait()
    wait_for(lambda: not project.processes())
    assert not (project.root / "out").exists()


def test_a_mistake_in_params_runs_nothing(project: Project) -> None:
    project.set(train={"epochs": 0})
    said = project.imagetrail("repro", ok=False)
    assert said.startswith("error: params.yaml: train.epochs") and "Running" not in said


def test_words_go_on_to_dvc_and_its_exit_code_comes_back(project: Project) -> None:
    (project.root / "wait").unlink()
    assert "Running stage 'wait'" in project.imagetrail("repro", "--dry", "--force", "wait")
    assert not (project.root / "out").exists()
    assert "polish" in project.imagetrail("repro", "polish", ok=False)


def test_stages_find_our_command_though_its_folder_is_on_no_path(project: Project) -> None:
    stage = "stages:\n  say:\n    cmd: exec imagetrail --version > out\n    outs: [out]\n"
    (project.root / "dvc.yaml").write_text(stage)
    project.imagetrail("repro", PATH=os.defpath)
    assert (project.root / "out").read_text().startswith("imagetrail ")


def test_it_is_in_a_group_of_its_own_so_that_a_stage_has_one_signal(project: Project) -> None:
    process = begin(project)
    groups = {os.getpgid(child.pid) for child in psutil.Process(process.pid).children()}
    assert groups and os.getpgid(process.pid) not in groups
    process.terminate()
    finished(process)
