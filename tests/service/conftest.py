"""The service as users start it, and what clients say to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_onnx
from service_client import CLASSES, Service, draw


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_onnx.write(tmp_path_factory.mktemp("model") / "m.onnx", tiny_onnx.noise(CLASSES))


@pytest.fixture(scope="module")
def started(
    model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Service]]:
    """`started("serve", …)` runs the command in an empty folder, and ends it after the module."""
    processes: list[subprocess.Popen[str]] = []

    def start(command: str, *options: str, folder: Path | None = None) -> Service:
        words = [sys.executable, "-m", "imagetrail.cli", command, "--model", str(model), *options]
        process = subprocess.Popen(
            [*words, "--port", "0"],
            cwd=folder or tmp_path_factory.mktemp("empty"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line, process.communicate()[1]
        return Service(process, line.split()[1])

    yield start
    for process in processes:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def service(started: Callable[..., Service]) -> Service:
    return started("serve")


@pytest.fixture
def picture() -> bytes:
    return draw(0)
