"""Beside a repro that runs, every command does its work or says in a line why not; both go on.

Together they come to what one after the other come to, in either order.
"""

import random
import sys
import time

import pytest
from project import finished
from stand import COMMANDS, FAULTS, SEED, Stand, differences, offered, pictures_alone, results

STAGE = "repro --force --single-item train"
RUNNING = ("repro", STAGE, "repro --force --single-item split", "repro --force --single-item gate")
CLI = (sys.executable, "-m", "imagetrail.cli")
REFUSED = {1, 255}  # 255: by DVC
# Before the others there is nothing that could run.
BESIDE = [words for words, before in COMMANDS.items() if before not in (offered, pictures_alone)]


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("number", range(FAULTS))
def test_a_command_beside_a_repro_costs_time_and_nothing_else(stand: Stand, number: int) -> None:
    draw = random.Random(f"{SEED}/company/{number}")
    command, beside = BESIDE[number % len(BESIDE)], draw.choice(RUNNING)
    lasts = stand.undisturbed(beside).seconds
    project = stand.ready(command, f"case{number}")
    first = project.start(*CLI, *beside.split())
    time.sleep(draw.random() * lasts)
    second = project.start(*CLI, *command.split())
    told, again = f"`{command}` beside `{beside}`:", [command]
    for words, process in ((command, second), (beside, first)):
        code, output, errors = finished(process)
        told += f"\n{code}: {output}{errors}"
        assert code in {0, *REFUSED} and "Traceback" not in told, told
        if code and words == beside:
            again.insert(0, beside)
    for words in again:
        told += f"\n{words} again: {project.imagetrail(*words.split())}"
    found = results(project, command)
    orders = ((command,), (beside, command), (command, beside))
    others = []
    for order in orders:
        others.append(differences(found, stand.undisturbed(command, order).results))
        if not others[-1]:
            return
    pytest.fail(f"{told}\n{others}")
