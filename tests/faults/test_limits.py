"""With too little memory or too few files, a command ends, and with enough goes on."""

import random
import sys

import pytest
from project import Project
from stand import COMMANDS, FAULTS, SEED, Stand, differences, half_written, results

# What a shell's `ulimit` does.
LIMITED = """import os, resource, sys
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]),) * 2)
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""
LIMITS = [
    *(("RLIMIT_NOFILE", files) for files in (8, 16, 32, 64, 128)),
    *(("RLIMIT_DATA", size << 20) for size in (100, 200, 400, 800, 1600)),
]


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("number", range(FAULTS))
def test_too_little_of_anything_costs_time_and_nothing_else(stand: Stand, number: int) -> None:
    draw = random.Random(f"{SEED}/limit/{number}")
    (what, size), command = LIMITS[number % len(LIMITS)], draw.choice(list(COMMANDS))
    expected = stand.undisturbed(command).results
    project = stand.ready(command, f"case{number}")
    said = limited(project, what, size, *command.split())
    told = f"{command} with {what} {size}:\n{said}"
    assert half_written(project, expected["files"]) == [], told
    again = project.imagetrail(*command.split())
    assert differences(results(project, command), expected) == [], f"{told}\n{again}"


def limited(project: Project, what: str, size: int, *words: str) -> str:
    """What a command says that may have so much and no more."""
    process = project.start(
        sys.executable, "-c", LIMITED, what, str(size), "-m", "imagetrail.cli", *words
    )
    return "".join(process.communicate(timeout=600))
