"""A tutorial's PyTorch: ResNet-18 from scratch with a DataLoader, SGD and a one-cycle rate.

30 epochs of batch 128 or, of few pictures, as many as make 500 steps. Pictures of 64 pixels and
less meet the usual first layer for small ones, of 3×3 without pooling.
"""

import copy
import itertools
import time

import torch
from photos_peer import given, report
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18

BATCH, EPOCHS, STEPS = 128, 30, 500
LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
MEASURED = 3  # steps, after one that is not


def network(classes: int, size: int) -> nn.Module:
    model = resnet18(num_classes=classes)
    if size <= 64:
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    return model


def train(model: nn.Module, loader: DataLoader, epochs: int, *, steps: int | None = None) -> float:
    """Seconds from the second step on, of `steps` at most."""
    optimiser = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=epochs * len(loader))
    batches = itertools.chain.from_iterable(loader for _ in range(epochs))
    before = time.perf_counter()
    for number, (images, labels) in enumerate(itertools.islice(batches, steps)):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
        schedule.step()
        if number == 0:
            before = time.perf_counter()
    return time.perf_counter() - before


def main() -> None:
    task = given()
    torch.manual_seed(task.seed)
    whole = [transforms.Resize(task.size), transforms.CenterCrop(task.size), transforms.ToTensor()]
    normal = transforms.Normalize((0.5,) * 3, (0.25,) * 3)
    changes = [
        transforms.RandomCrop(task.size, padding=max(1, task.size // 8)),
        transforms.RandomHorizontalFlip(),
    ]
    before = time.perf_counter()
    pictures = ImageFolder(task.folder / "train", transforms.Compose([*whole, *changes, normal]))
    loader = DataLoader(pictures, BATCH, shuffle=True, num_workers=2)
    model = network(len(pictures.classes), task.size)
    reading = time.perf_counter() - before
    some = min(1 + MEASURED, 2 * len(loader))
    step = train(copy.deepcopy(model), loader, 2, steps=some) / (some - 1)
    usual = task.epochs(EPOCHS, steps=STEPS, batch_size=BATCH)
    epochs = task.within(usual, step * len(loader))
    before = time.perf_counter()
    train(model, loader, epochs)
    seconds = reading + time.perf_counter() - before
    test = ImageFolder(task.folder / "test", transforms.Compose([*whole, normal]))
    model.eval()
    with torch.no_grad():
        answers = [model(images).argmax(1) for images, _ in DataLoader(test, 256, num_workers=2)]
    report(seconds, torch.cat(answers).tolist(), pictures.classes, epochs=epochs)


if __name__ == "__main__":
    main()
