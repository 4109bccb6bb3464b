"""Hostile archives, pictures, models, arrays, tables and texts: read or refused, and no more."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from project import ROOT


@pytest.mark.slow
def test_no_hostile_input_crashes_runs_code_or_writes_elsewhere(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    here = Path(__file__).parent
    path = [str(ROOT / "src"), str(ROOT / "tests/support"), str(here)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(here / "readers.py")],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *through, last = map(json.loads, done.stdout.splitlines())
    assert not through and not last["left"]
    count = sum(last["counts"].values())
    record_property("hostile inputs", count)
    assert count >= 500
