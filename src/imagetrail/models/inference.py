"""Logits and features of many images."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from imagetrail.base.samples import Samples
from imagetrail.compute.device import this_machine
from imagetrail.models.classifier import Classifier

BATCH = 16 << 20  # bytes of pictures that go through a network at once: its activations are 100×


def predict(
    model: Classifier,
    samples: Samples,
    *,
    batch_size: int = 1000,
    exact: bool = False,
    mirrored: bool = False,
) -> Tensor:
    """Logits N×K float32 on the CPU.

    batch_size: at most; of large pictures fewer are taken at once.
    exact: with the precision of the exported model; otherwise with that of training.
    mirrored: of the images flipped left to right.
    """
    return _collect(model, model, samples, batch_size, exact=exact, mirrored=mirrored)


def features(model: Classifier, samples: Samples, *, batch_size: int = 1000) -> Tensor:
    """What the head sees: N×D float32 on the CPU, with the precision of training."""
    return _collect(model, model.features, samples, batch_size)


@torch.no_grad()
def _collect(
    model: Classifier,
    answer: Callable[[Tensor], Tensor],
    samples: Samples,
    batch_size: int,
    *,
    exact: bool = False,
    mirrored: bool = False,
) -> Tensor:
    machine = this_machine()
    model.to(machine.device).eval()
    answers = []
    height, width = model.spec.sides  # of grey pictures it makes as much as of colour
    most = max(16, BATCH // (3 * height * width))
    for chunk in samples.chunks(min(batch_size, most)):
        images = torch.from_numpy(chunk.copy())
        images = (images.flip(2) if mirrored else images).to(machine.device)
        with nullcontext() if exact else machine.autocast():
            answers.append(answer(images).float().cpu())
    return torch.cat(answers)
