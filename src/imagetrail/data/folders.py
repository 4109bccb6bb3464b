"""Labelled by folders: a sub-folder a class, or such sub-folders below train, valid and test."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagetrail.base.errors import UserError
from imagetrail.data import decoding, labels, listing
from imagetrail.data.decoding import Target
from imagetrail.data.labels import split_of, words
from imagetrail.data.listing import Folder, may_be_picture
from imagetrail.data.pictures import Examined, Pictures

LAYOUT = (
    "wanted are class folders with pictures in them, or such class folders below train, valid "
    "and test"
)
NO_PICTURE = "no picture by its name"


def read(place: Path, shown: str) -> Pictures:
    """The pictures in the class folders of a folder, which messages call `shown`.

    A single wrapping folder, as archives have, is skipped: paths begin below it. Raises UserError
    for a layout that could mean something else.
    """
    top = _unwrapped(listing.scan(place, shown))
    parts = _parts(top, shown)
    found = [
        (split, kind, path)
        for split, below, folder in parts
        for kind, inside in folder.folders.items()
        for path in (f"{below}{kind}/{name}" for name in inside.below())
    ]
    pictures = [row for row in found if may_be_picture(row[2])]
    kinds = [kind for _, kind, _ in pictures]
    places = {kind: below for _, below, folder in reversed(parts) for kind in folder.folders}
    classes = labels.in_order(places)
    _refuse_empty(classes, Counter(kinds), shown)
    where = {kind: places[kind] and f" ({places[kind]}{kind})" for kind in classes}
    labels.check_classes(where, shown)
    splits = tuple(split for split, _, _ in pictures)
    sources = tuple(path for _, _, path in pictures)
    numbers = {name: number for number, name in enumerate(classes)}

    def picture(i: int, target: Target) -> Examined:
        return decoding.read(top.place / sources[i], target)

    return Pictures(
        tuple(classes),
        np.array([numbers[kind] for kind in kinds], np.int64),
        splits,
        sources,
        picture,
        ignored=tuple(_strays(top, parts))
        + tuple((path, NO_PICTURE) for _, _, path in found if not may_be_picture(path)),
        notes=labels.check_counts(kinds, splits, classes, shown),
        content=lambda i: top.place / sources[i],
    )


Part = tuple[str, str, Folder]  # split, path from the top with / at its end, folder of classes


def _unwrapped(folder: Folder) -> Folder:
    return _unwrap("", folder)[1]


def _unwrap(path: str, folder: Folder) -> tuple[str, Folder]:
    """Goes into a folder that is the only one, unless that is a class."""
    while len(folder.folders) == 1:
        ((name, only),) = folder.folders.items()
        if only.pictures() or not only.folders:
            break
        path, folder = f"{path}{name}/", only
    return path, folder


def _parts(top: Folder, shown: str) -> list[Part]:
    """The folders whose sub-folders are the classes."""
    folders = top.folders
    known = {name for name in folders if split_of(name)}
    every = len(known) == len(folders)
    splits = [name for name in known if folders[name].folders]
    if not every:  # among classes, one called train may show trains
        splits = [name for name in splits if not folders[name].pictures()]
    if not splits:
        _refuse_unlike_classes(top, shown, every)
        return [("", "", top)]
    if others := sorted(folders.keys() - set(splits)):
        raise UserError(
            f"{shown}: {words(sorted(splits))} would be splits, but {words(others)} beside them "
            f"cannot be one; {LAYOUT}"
        )
    for split, count in Counter(map(split_of, splits)).items():
        if count > 1:
            both = words(sorted(name for name in splits if split_of(name) == split))
            raise UserError(f"{shown}: {both} would all be {split}; let one name stay")
    return [(split_of(name), *_unwrap(f"{name}/", folders[name])) for name in sorted(splits)]


def _refuse_unlike_classes(top: Folder, shown: str, every: bool) -> None:
    """Raises UserError where sub-folders are hardly the classes."""
    if not top.folders:
        raise UserError(f"{shown}: no class folders; {LAYOUT}")
    if every:
        fault = "hold no class folders, so their pictures have no labels"
        raise UserError(f"{shown}: {words(sorted(top.folders))} {fault}; {LAYOUT}")
    halls = {
        name: set(_unwrapped(folder).folders)
        for name, folder in top.folders.items()
        if folder.folders and not folder.pictures()
    }
    shared = Counter(name for inside in halls.values() for name in inside)
    alike = [name for name, inside in halls.items() if sum(shared[one] > 1 for one in inside) > 1]
    if alike:
        inside = sorted(name for name in halls[alike[0]] if shared[name] > 1)
        raise UserError(
            f"{shown}: {words(alike)} hold no pictures, but folders of the same names "
            f"({words(inside)}): if they are splits, call them train, valid and test; if they are "
            f"classes, let those names differ ({alike[0]}/{alike[0]}-{inside[0]}), "
            "or name the labels in a table (data.table)"
        )


def _refuse_empty(classes: Sequence[str], count: Counter[str], shown: str) -> None:
    if empty := [name for name in classes if not count[name]]:
        raise UserError(
            f"{shown}: no picture in class {words(empty)}; add pictures or remove the folder"
        )


def _strays(top: Folder, parts: Sequence[Part]) -> list[tuple[str, str]]:
    """Files above the class folders."""
    above = {"": top, **{path: folder for _, path, folder in parts}}
    return [
        (
            f"{path}{name}",
            "in no class folder" if may_be_picture(name) else NO_PICTURE,
        )
        for path, folder in above.items()
        for name in folder.files
    ]
