"""What every test has: one thread, and pictures as soon as it asks for them."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import tiny_samples
import torch

from imagetrail.base.samples import Samples


def pytest_configure() -> None:
    """Toy networks gain nothing from threads; those of two workers would wait for one another."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # what tests start has it as well
    torch.set_num_threads(1)
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):  # a make within `make test` tells of folders
        os.environ.pop(name, None)


def pytest_runtest_setup() -> None:
    """MLflow leaves the address of a store in the environment, for whatever comes next."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what tests have counted, which is more than that it was enough."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture
def make_samples(tmp_path: Path) -> Callable[..., Samples]:
    """`make_samples(name, images, labels)` writes a Samples folder below tmp_path and opens it."""
    return partial(tiny_samples.write, tmp_path)


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Samples]:
    """`toy(name)` writes two classes that any model can tell."""
    return partial(tiny_samples.write_toy, tmp_path)
