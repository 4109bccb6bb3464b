"""Labelled images on disk: the one format in which stages hand pictures to one another."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap
from pathlib import Path
from tokenize import TokenError
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imagetrail.base.errors import damaged, missing
from imagetrail.base.files import read_json, replacing

Images = NDArray[np.uint8]  # N×H×W×C, C = 1 or 3
INDEX = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int64()),  # position in classes.json
        ("origin", pa.string()),  # real, augmented, synthetic, related or unknown
        ("parent", pa.string()),  # id of the image it was made from, or null
        ("source", pa.string()),  # file or package path it came from
        ("fingerprint", pa.string()),  # of its pixels; null for what was made from other images
    ]
)

# Columns of an index that may be there: float64.
WEIGHT = "weight"  # null: as much as the mean
CERTAINTY = "certainty"  # of the label: over 0, at most 1; null: 1
NUMBERS = (WEIGHT, CERTAINTY)

KEPT = 4 << 20  # bytes of pictures at once where a network keeps all activations: 1,000×


def at_once(sides: tuple[int, int], most: int) -> int:
    """How many pictures go through a network at once where it keeps its activations.

    sides: H and W as it sees them. They count as colour pictures: it makes as much of grey ones.
    """
    height, width = sides
    return int(max(1, min(most, KEPT // (3 * height * width))))


@dataclass(frozen=True)
class Samples:
    """A Samples folder, read: images stay on disk (memory-mapped) until they are used."""

    images: Images
    index: pa.Table
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = self.index["label"].to_numpy()
        return labels

    def column(self, name: str) -> list[str]:
        values: list[str] = self.index[name].to_pylist()
        return values

    def gather(self, numbers: NDArray[np.int64]) -> Images:
        """Copies of these images. A mapping of its own lets go of the file's pages afterwards."""
        images = self.images
        if isinstance(images, np.memmap) and isinstance(images.base, mmap):  # no part of a file
            images = np.memmap(images.filename, images.dtype, "r", images.offset, images.shape)
        return np.asarray(images[numbers])

    def part(self, numbers: NDArray[np.int64]) -> "Samples":
        """These images with their rows, in memory."""
        return Samples(self.gather(numbers), self.index.take(numbers), self.classes)

    def chunks(self, size: int = 1024) -> Iterator[Images]:
        for start in range(0, len(self), size):
            yield self.images[start : start + size]


def read(folder: Path, *, columns: Sequence[str] | None = None) -> Samples:
    """Opens a Samples folder; copies no image. Raises UserError if it is missing or damaged.

    columns: the only ones of the index that are read, beside those of NUMBERS that it has; the ids
    of millions of images take memory.
    """
    file = folder / "images.npy"
    try:
        images = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise missing(file) from None
    except (EOFError, TokenError, ValueError) as error:
        raise damaged(file, error) from None
    index = read_table(folder / "index.parquet", columns=columns and [*columns, *NUMBERS])
    if absent := set(columns or INDEX.names) - set(index.column_names):
        raise damaged(folder, f"its index has no {', '.join(sorted(absent))}")
    if len(images) != len(index):
        raise damaged(folder, f"{len(images)} images but {len(index)} in its index")
    return Samples(images, index, tuple(read_json(folder / "classes.json")))


def read_table(path: Path, *, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a Parquet file; raises UserError if it is missing or damaged.

    columns: the only ones that are read, of those that there are.
    """
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=columns)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from None


def fingerprint(image: Images) -> str:
    """Equal for images that are equal in every pixel."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=12).hexdigest()


def make_index(
    *,
    ids: Sequence[str],
    labels: Sequence[int] | NDArray[np.int64],
    origin: str,
    parents: Sequence[str | None] | None = None,
    sources: Sequence[str],
    fingerprints: Sequence[str | None] | None = None,
    columns: Mapping[str, Sequence[str | float | None]] = MappingProxyType({}),
) -> pa.Table:
    """The index of Samples. columns: further ones, such as `group` and the user's own.

    All are texts, but for NUMBERS.
    """
    count = len(ids)
    known = [
        list(ids),
        np.asarray(labels, np.int64),
        [origin] * count,
        parents or [None] * count,
        list(sources),
        fingerprints or [None] * count,
    ]
    index = pa.table(
        [pa.array(column, field.type) for column, field in zip(known, INDEX, strict=True)],
        schema=INDEX,
    )
    for name, values in columns.items():
        kind = pa.float64() if name in NUMBERS else pa.string()
        index = index.append_column(name, pa.array(values, kind))
    return index


def write(
    folder: Path,
    images: Iterable[Images],
    index: pa.Table,
    *,
    classes: Sequence[str],
    shape: tuple[int, int, int],
) -> None:
    """Writes a Samples folder, whole or not at all.

    images: chunks of n×H×W×C uint8, in the order of `index`; one at a time is in memory.
    shape: H, W, C.
    """
    start = 0
    with filling(folder, index, classes=classes, shape=shape) as path:
        for chunk in _joined(images):
            store(path, start, chunk)
            start += len(chunk)
        assert start == len(index), f"{start} images written, {len(index)} indexed"


def _joined(images: Iterable[Images]) -> Iterator[Images]:
    """Chunks of 1 MB and more: a write takes longer than what it writes of a small picture."""
    some: list[Images] = []
    for chunk in images:
        some.append(chunk)
        if len(some) * chunk.nbytes >= 1 << 20:
            yield np.concatenate(some)
            some.clear()
    if some:
        yield np.concatenate(some)


@contextmanager
def filling(
    folder: Path, index: pa.Table, *, classes: Sequence[str], shape: tuple[int, int, int]
) -> Iterator[Path]:
    """Yields the future images.npy, for any process to `store` in; a good end makes it Samples."""
    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        path = temporary / "images.npy"
        with path.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(index), *shape)}
            np.lib.format.write_array_header_2_0(file, header)
            file.truncate(file.tell() + len(index) * math.prod(shape))
        yield path
        pq.write_table(index, temporary / "index.parquet")
        (temporary / "classes.json").write_text(
            json.dumps(list(classes), ensure_ascii=False) + "\n"
        )


def store(path: Path, start: int, images: Images) -> None:
    """Puts images into the array in a file, the first at `start`."""
    whole = np.load(path, mmap_mode="r", allow_pickle=False)
    assert images.dtype == np.uint8, images.dtype
    assert images.shape[1:] == whole.shape[1:], (images.shape, whole.shape)
    assert start + len(images) <= len(whole), (
        f"{start + len(images)} images written, {len(whole)} indexed"
    )
    # not through the map: on a full disk a write raises, where a map kills with SIGBUS
    with path.open("r+b") as file:
        file.seek(whole.offset + start * math.prod(whole.shape[1:]))
        file.write(np.ascontiguousarray(images).data)
