"""Tiny Samples folders, real and on disk, for every test that needs pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from imagetrail import samples
from imagetrail.samples import Images, Samples


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Toy networks gain nothing from threads, and on a busy machine threads that wait for one another crawl."""
    torch.set_num_threads(1)


@pytest.fixture
def make_samples(tmp_path: Path) -> Callable[..., Samples]:
    """`make_samples(name, images, labels)` writes a Samples folder below tmp_path and opens it."""

    def make(name: str, images: Images, labels: Sequence[int], classes: Sequence[str] = ("left", "right")) -> Samples:
        ids = [f"{name}{i}" for i in range(len(images))]
        index = samples.make_index(ids=ids, labels=labels, origin="real", sources=ids)
        samples.write(tmp_path / name, [images], index, classes=classes, shape=images.shape[1:])
        return samples.read(tmp_path / name)

    return make


@pytest.fixture
def toy(make_samples: Callable[..., Samples]) -> Callable[..., Samples]:
    """`toy(name)` writes dark noise, bright in the left or in the right half: two classes that any model can tell."""

    def make(name: str = "toy", *, count: int = 64, size: int = 8, channels: int = 1, seed: int = 0) -> Samples:
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 100, (count, size, size, channels), np.uint8)
        labels = np.arange(count) % 2
        images[labels == 0, :, : size // 2] += 120
        images[labels == 1, :, size // 2 :] += 120
        return make_samples(name, images, labels)

    return make
