"""Signals that wait for a good moment, each in a process of its own."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import signal, sys
from imagetrail.stages.train.interruption import deferred
signal.signal(signal.{name}, signal.{handler})
with deferred() as interruption:
    signal.raise_signal(signal.{name})
    print("noted" if interruption.number else "not noted", flush=True)
print("went on")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_is_noted_within_the_block_and_acts_at_its_end(name: str) -> None:
    script = SCRIPT.format(name=name, handler="SIG_DFL")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "noted\n" and done.returncode == -getattr(signal, name)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_is_ignored_as_nohup_has_it_stays_ignored(name: str) -> None:
    script = SCRIPT.format(name=name, handler="SIG_IGN")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "not noted\nwent on\n" and done.returncode == 0
