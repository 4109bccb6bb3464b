"""Logits of many images."""

from contextlib import nullcontext

import torch
from torch import Tensor

from imagetrail.base.samples import Samples
from imagetrail.compute.device import this_machine
from imagetrail.models.classifier import Classifier


@torch.no_grad()
def predict(
    model: Classifier,
    samples: Samples,
    *,
    batch_size: int = 1000,
    exact: bool = False,
    mirrored: bool = False,
) -> Tensor:
    """Logits N×K float32 on the CPU.

    exact: with the precision of the exported model; otherwise with that of training.
    mirrored: of the images flipped left to right.
    """
    machine = this_machine()
    model = model.to(machine.device).eval()
    logits = []
    for chunk in samples.chunks(batch_size):
        images = torch.from_numpy(chunk.copy())
        with nullcontext() if exact else machine.autocast():
            logits.append(
                model((images.flip(2) if mirrored else images).to(machine.device)).float().cpu()
            )
    return torch.cat(logits)
