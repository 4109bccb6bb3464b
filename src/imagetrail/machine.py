"""What this machine computes with: device, precision and threads, chosen by what is there."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Machine:
    device: torch.device
    dtype: torch.dtype  # of matrix products; weights and sums stay float32

    def autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def this_machine() -> Machine:
    """CUDA, else MPS, else the CPU; bfloat16 where the hardware multiplies it (IMAGETRAIL_PRECISION=float32 says no)."""
    torch.set_flush_denormal(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    if os.environ.get("IMAGETRAIL_PRECISION") == "float32" or not _has_bfloat16(device):
        return Machine(device, torch.float32)
    return Machine(device, torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
