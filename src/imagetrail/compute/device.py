"""What this machine computes with: device, precision and threads, chosen by what is there."""

import ctypes
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from imagetrail.base.errors import UserError


@dataclass(frozen=True)
class Machine:
    device: torch.device
    dtype: torch.dtype  # of matrix products; weights and sums stay float32

    def autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def take(self, values: Tensor) -> Tensor:
        """The values on the device; of CUDA, by a pinned copy that computing does not wait for."""
        if self.device.type == "cuda":
            values = values.pin_memory()
        return values.to(self.device, non_blocking=True)

    def seed(self, seed: int) -> None:
        """Seeds torch's global stream.

        torch.manual_seed also notes a call for each device that is not there: 0.3 ms.
        """
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            getattr(torch, self.device.type).manual_seed(seed)

    def facts(self) -> dict[str, float | str]:
        precision = str(self.dtype).removeprefix("torch.")
        return {
            "device": str(self.device),
            "precision": precision,
            "threads": torch.get_num_threads(),
        }


def this_machine() -> Machine:
    """CUDA, else MPS, else the CPU; bfloat16 where the hardware multiplies it.

    IMAGETRAIL_DEVICE, IMAGETRAIL_PRECISION=float32 and OMP_NUM_THREADS choose otherwise.
    """
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    device = _device(os.environ.get("IMAGETRAIL_DEVICE") or _best())
    if os.environ.get("IMAGETRAIL_PRECISION") == "float32" or not _has_bfloat16(device):
        return Machine(device, torch.float32)
    return Machine(device, torch.bfloat16)


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"IMAGETRAIL_DEVICE: {name!r} cannot be used here: {str(error).splitlines()[0]}"
        ) from None
    return device


@cache
def _keep_freed_memory() -> None:
    """Has glibc keep what is freed: else each step maps and zeroes its large arrays."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
