"""On a disk that fills, nothing half-written is left, and with room the same command goes on."""

import random
import sys

import pytest
from stand import FAULTS, SEED, Stand, half_written, results

from imagetrail.cli.main import STAGES

# No file may become longer than so many bytes: a write then fails as it does on a full disk.
LIMITED = """import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
SIZES = [4**power for power in range(4, 14)]  # 256 bytes to 64 MB


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("number", range(FAULTS))
def test_a_full_disk_leaves_nothing_half_written(stand: Stand, number: int) -> None:
    draw = random.Random(f"{SEED}/disk/{number}")
    size, stage = SIZES[number % len(SIZES)], draw.choice(list(STAGES))
    command = f"repro --force --single-item {stage}"
    expected = stand.undisturbed(command).results
    project = stand.ready(command, f"case{number}")
    words = ("-c", LIMITED, str(size), "-m", "imagetrail.cli", *command.split())
    process = project.start(sys.executable, *words)
    said = "".join(process.communicate(timeout=600))
    assert "Traceback" not in said, said
    assert half_written(project, expected["files"]) == [], said
    again = project.imagetrail(*command.split())
    assert results(project, command) == expected, f"{stage} in {size} bytes:\n{said}\n{again}"
