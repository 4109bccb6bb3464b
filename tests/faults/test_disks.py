"""On a disk that fills, nothing half-written is left, and with room the same command goes on."""

import random
import sys
from hashlib import md5

import pytest
from project import Project
from stand import FAULTS, SEED, Stand, results

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


def half_written(project: Project, whole: dict[str, str]) -> list[str]:
    """Outs that are there and are not what they should be; temporary names count."""
    found = []
    for top in ("artifacts", "data"):
        for path in (project.root / top).rglob("*"):
            name = str(path.relative_to(project.root))
            other = name in whole and md5(path.read_bytes()).hexdigest() != whole[name]
            if other or path.name.endswith(".partial"):
                found.append(name)
    return found
