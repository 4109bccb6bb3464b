"""airbench94 (Jordan, arXiv:2404.00498) as its package has it, on CIFAR-10.

It is written for a GPU with 16-bit floats. Here it computes on the CPU, with weights in float32 and
products in bfloat16, as ours; nothing else is changed. Answers are means over six views of a
picture, mirrored and shifted, as it has them.
"""

import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from airbench import CifarLoader, infer, lib_airbench94
from photos_peer import Task, given, report
from PIL import Image
from torch import nn


def on_the_cpu() -> None:
    """What it asks of a GPU, asked of the CPU."""
    load = torch.load
    torch.load = lambda path, **_: load(path)
    torch.Tensor.half, nn.Module.half = torch.Tensor.float, nn.Module.float
    nn.Module.cuda = lambda module: module
    none = {"record": lambda: None, "elapsed_time": lambda _: 0.0}
    torch.cuda.Event = lambda **_: SimpleNamespace(**none)
    torch.cuda.synchronize = lambda: None


class Autocast(nn.Sequential):
    """Its layers, with products in bfloat16."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits: torch.Tensor = super().forward(images)
        return logits.float()


def read(task: Task, part: str) -> dict[str, Any]:
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in task.files(part)]
    labels = torch.tensor(task.labels(part))
    return {
        "images": torch.from_numpy(np.stack(pictures)),
        "labels": labels,
        "classes": task.classes,
    }


def main() -> None:
    task = given()
    on_the_cpu()
    torch.manual_seed(task.seed)
    with tempfile.TemporaryDirectory(dir=task.folder.parent) as folder:
        os.chdir(folder)  # it opens files of fixed names
        seconds, answers = trained(task)
    report(seconds, answers, task.classes)


def trained(task: Task) -> tuple[float, list[int]]:
    """The seconds from the files to a trained model, and its answers for test."""
    Path("cifar10").mkdir()
    before = time.perf_counter()
    torch.save(read(task, "train"), "cifar10/train.pt")
    seconds = time.perf_counter() - before
    torch.save(read(task, "test"), "cifar10/test.pt")  # it opens both before it begins
    hyp = lib_airbench94.hyp
    before = time.perf_counter()
    train = CifarLoader(
        "cifar10", train=True, batch_size=hyp["opt"]["batch_size"], aug=hyp["aug"], altflip=True
    )
    model = lib_airbench94.train94(
        train, make_net=lambda: Autocast(*lib_airbench94.make_net94()), verbose=False
    )
    seconds += time.perf_counter() - before
    test = CifarLoader("cifar10", train=False, batch_size=2000)
    return seconds, infer(model, test, tta_level=hyp["net"]["tta_level"]).argmax(1).tolist()


if __name__ == "__main__":
    main()
