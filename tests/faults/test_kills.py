"""Killed at any moment, in any way, the same command once more gives what it would have given."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from project import Project
from stand import COMMANDS, FAULTS, SEED, Stand, differences, results

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TARGETS = ("command", "dvc", "stage", "group")
SHELLS = [shell for name in ("sh", "bash", "zsh") if (shell := shutil.which(name))]  # DVC's: $SHELL
PATIENCE = 120  # seconds until all have ended, on a machine that does other things as well


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("number", range(FAULTS))
def test_a_kill_costs_time_and_nothing_else(stand: Stand, number: int) -> None:
    draw = random.Random(f"{SEED}/kill/{number}")
    command = list(COMMANDS)[number % len(COMMANDS)]  # each as often as any other
    how, whom, when = draw.choice(SIGNALS), draw.choice(TARGETS), draw.random()
    shell = draw.choice(SHELLS)
    expected = stand.undisturbed(command)
    project = stand.ready(command, f"case{number}")
    process = project.start(sys.executable, "-m", "imagetrail.cli", *command.split(), SHELL=shell)
    time.sleep(when * expected.seconds)
    said = (
        f"{how.name} to {whom} at {when:.0%} of {expected.seconds:.1f} s of `{command}` in {shell}"
    )
    strike(process, whom, how)
    process.communicate(timeout=600)
    assert left(project) == [], said
    again = project.imagetrail(*command.split())
    assert differences(results(project, command), expected.results) == [], f"{said}\n{again}"
    assert left(project) == [], said


def strike(process: "subprocess.Popen[str]", whom: str, how: signal.Signals) -> None:
    """Sends the signal to one process, or to the group, which the command itself is in."""
    if process.poll() is not None:
        return
    below = psutil.Process(process.pid).children(recursive=True)
    wanted = {"dvc": "dvc", "stage": "imagetrail"}.get(whom)
    named = [child for child in below if wanted and _runs(child, wanted)]
    if named:
        named[-1].send_signal(how)
    elif whom == "group":
        os.killpg(process.pid, how)
    else:  # or there is no such process now
        process.send_signal(how)


def _runs(process: psutil.Process, what: str) -> bool:
    try:
        return any(word.rsplit("/", 1)[-1] == what for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def left(project: Project) -> list[str]:
    """The processes that have not ended when they should have."""
    deadline = time.monotonic() + PATIENCE
    while (found := project.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [str(process) for process in found]
