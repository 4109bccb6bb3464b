"""Faults on purpose: only with FAULTS=300 (how many) and, if need be, SEED=1; `make test-faults`.

A fault is decided by seed and number alone: `FAULTS=300 pytest tests/faults -k "kill and 17"`
repeats one.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
from project import Project
from stand import FAULTS, Stand

collect_ignore_glob = [] if FAULTS else ["test_*.py"]


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Stand:
    alone = tmp_path_factory.getbasetemp()
    shared = (alone if worker_id == "master" else alone.parent) / "shared"
    shared.mkdir(exist_ok=True)
    return Stand(tmp_path_factory.mktemp("faults"), shared)


@pytest.fixture
def clean(stand: Stand) -> Iterator[None]:
    """Kills what a failed test has left, and removes its copy."""
    yield
    for folder in stand.root.glob("case*"):
        for process in Project(folder).processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
