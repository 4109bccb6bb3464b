"""Beside a repro that runs, every command does its work or says in a line why not; both go on."""

import random
import sys
import time

import pytest
from project import finished
from stand import COMMANDS, FAULTS, SEED, Stand, results

STAGE = "repro --force --single-item train"
RUNNING = ("repro", STAGE, "repro --force --single-item split", "repro --force --single-item gate")
CLI = (sys.executable, "-m", "imagetrail.cli")


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("number", range(FAULTS))
def test_a_command_beside_a_repro_costs_time_and_nothing_else(stand: Stand, number: int) -> None:
    draw = random.Random(f"{SEED}/company/{number}")
    command, beside = list(COMMANDS)[number % len(COMMANDS)], draw.choice(RUNNING)
    expected, lasts = stand.undisturbed(command), stand.undisturbed(beside).seconds
    project = stand.ready(command, f"case{number}")
    first = project.start(*CLI, *beside.split())
    time.sleep(draw.random() * lasts)
    second = project.start(*CLI, *command.split())
    codes, told = [], f"`{command}` beside `{beside}`:"
    for process in (second, first):
        code, output, errors = finished(process)
        codes.append(code)
        told += f"\n{code}: {output}{errors}"
    assert "Traceback" not in told and set(codes) <= {0, 1, 255}, told  # 255: DVC's own
    again = project.imagetrail(*command.split())
    assert results(project, command) == expected.results, f"{told}\n{again}"
