"""Samples folders of a few pictures, real and on disk."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagetrail.base import samples
from imagetrail.base.samples import Images, Samples


def write(
    root: Path,
    name: str,
    images: Images,
    labels: Sequence[int],
    classes: Sequence[str] = ("left", "right"),
) -> Samples:
    ids = [f"{name}{i}" for i in range(len(images))]
    index = samples.make_index(
        ids=ids,
        labels=labels,
        origin="real",
        sources=ids,
        fingerprints=[samples.fingerprint(image) for image in images],
    )
    samples.write(root / name, [images], index, classes=classes, shape=images.shape[1:])
    return samples.read(root / name)


def group(folder: Path, names: Sequence[str]) -> None:
    """Says of each picture in a Samples folder with whom it belongs together."""
    file = folder / "index.parquet"
    index = pq.read_table(file)
    if "group" in index.column_names:
        index = index.drop_columns("group")
    pq.write_table(index.append_column("group", pa.array(list(names), pa.string())), file)


def write_toy(
    root: Path,
    name: str = "toy",
    *,
    count: int = 64,
    size: int = 8,
    channels: int = 1,
    seed: int = 0,
) -> Samples:
    """Dark noise, bright in the left or in the right half: two classes that any model can tell."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (count, size, size, channels), np.uint8)
    labels = np.arange(count) % 2
    images[labels == 0, :, : size // 2] += 120
    images[labels == 1, :, size // 2 :] += 120
    return write(root, name, images, labels)
