"""On a disk that fills, nothing half-written is left, and with room the same command goes on.

As any user: no file may become longer than so much. As root on Linux also a real one, in memory.
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import Project
from stand import COMMANDS, FAULTS, SEED, Stand, differences, half_written, results

from imagetrail.cli.main import STAGES

# A write then fails as it does on a full disk.
LIMITED = """import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
ROOM = [0, *(4**power for power in range(6, 15))]  # none, 4 KB to 256 MB
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
    assert differences(results(project, command), expected) == [], (
        f"{stage} in {size} bytes:\n{said}\n{again}"
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, still without a size."""
    made = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True)
    if made.returncode:
        pytest.skip("only root may mount a disk")
    yield tmp_path
    for process in Project(tmp_path / "case").processes():
        process.kill()
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.parametrize("number", range(FAULTS))
def test_a_disk_that_is_really_full_leaves_nothing_half_written(
    stand: Stand, disk: Path, number: int
) -> None:
    draw = random.Random(f"{SEED}/full/{number}")
    room, command = ROOM[number % len(ROOM)], draw.choice(list(COMMANDS))
    expected = stand.undisturbed(command).results
    project = stand.ready(command, f"ready{number}").copy(disk / "case")
    shutil.rmtree(stand.root / f"ready{number}")
    taken = shutil.disk_usage(disk).used
    resize(disk, taken + room)
    process = project.start(sys.executable, "-m", "imagetrail.cli", *command.split())
    said = f"{command} with room for {room} bytes:\n{''.join(process.communicate(timeout=600))}"
    assert "Traceback" not in said, said
    assert half_written(project, expected["files"]) == [], said
    resize(disk, taken + (1 << 30))
    again = project.imagetrail(*command.split())
    assert differences(results(project, command), expected) == [], f"{said}\n{again}"


def resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
