"""The user's own pictures: a folder or archive with a sub-folder a class, copied and read."""

import lzma
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from imagetrail.base.errors import UserError
from imagetrail.data import decoding
from imagetrail.data.decoding import FORMATS
from imagetrail.data.pictures import Pictures

# valid is carved anew from train
SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "valid": "train",
    "val": "train",
    "test": "test",
    "testing": "test",
}


def unpack(origin: Path, folder: Path) -> None:
    """Unpacks an archive of the user's into `folder`."""
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
    except (
        EOFError,
        RuntimeError,
        lzma.LZMAError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        raise UserError(
            f"params.yaml: data.path: {origin} cannot be unpacked ({error}); {wanted}"
        ) from None


def read(folder: Path) -> Pictures:
    """Class sub-folders, optionally below `train` and `test`.

    A single wrapping folder, as archives have, is skipped.
    """
    top = folder
    while len(inside := _folders(top)) == 1 and not _is_class(inside[0]):
        top = inside[0]
    roots = _split_roots(inside) or [("", top)]
    found = [
        (split, kind.name, path)
        for split, root in roots
        for kind in _folders(root)
        for path in _files(kind)
    ]
    pictures = [row for row in found if _is_picture(row[2])]
    ignored = [path for _, _, path in found if not _is_picture(path)] + _strays(
        {top, *(root for _, root in roots)}
    )
    classes = sorted({kind.name for _, root in roots for kind in _folders(root)})
    _refuse_empty(folder, classes, Counter(kind for _, kind, _ in pictures))
    numbers = {name: number for number, name in enumerate(classes)}
    paths = [path for _, _, path in pictures]
    return Pictures(
        tuple(classes),
        np.array([numbers[kind] for _, kind, _ in pictures], np.int64),
        tuple(split for split, _, _ in pictures),
        tuple(str(path.relative_to(folder)) for path in paths),
        lambda i, target: decoding.read(paths[i], target),
        tuple((str(path.relative_to(folder)), "no picture by its name") for path in ignored),
        content=lambda i: paths[i],
    )


def _split_roots(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """The split that each folder is by its name, if all are.

    Where there is no test set, no split counts as published.
    """
    names = {folder.name.lower() for folder in folders}
    if not names <= set(SPLIT_FOLDERS):
        return []
    return [
        (SPLIT_FOLDERS[folder.name.lower()] if "test" in names else "", folder)
        for folder in folders
    ]


def _strays(folders: Iterable[Path]) -> list[Path]:
    return sorted(path for folder in folders for path in _files(folder, deep=False))


def _refuse_empty(folder: Path, classes: Sequence[str], count: Counter[str]) -> None:
    empty = [name for name in classes if not count[name]]
    if empty:
        fault = f"no JPEG or PNG file in class {', '.join(empty)}"
        raise UserError(f"{folder}: {fault}; add pictures or remove the folder")
    if not classes:
        wanted = "expected one folder a class, with JPEG or PNG files in it"
        raise UserError(f"{folder}: no class sub-folders; {wanted}")
    if len(classes) < 2:
        wanted = "a classifier needs at least two sub-folders"
        raise UserError(f"{folder}: only one class, {classes[0]}; {wanted}")


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__MACOSX"))
    )


def _is_class(folder: Path) -> bool:
    return any(_is_picture(path) for path in _files(folder, deep=False)) or not _folders(folder)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in FORMATS


def _files(folder: Path, *, deep: bool = True) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))
