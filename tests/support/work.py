"""Work for the processes of `parallel.map`, which must be able to import it."""

import os
import signal
from pathlib import Path

import torch

from imagetrail.base.errors import UserError


def product(seed: int) -> list[float]:
    """Sums whose bits depend on how many threads share them."""
    torch.manual_seed(seed)
    one, two = torch.randn(2, 300, 300)
    return [float(value) for value in (one @ two).sum(1)]


def setting(_: int) -> tuple[int, str, str]:
    return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], str(Path.cwd())


def who(_: int) -> int:
    return os.getpid()


def refuse(number: int) -> int:
    if number == 1:
        raise UserError("lr is too high")
    return number


def die(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number
