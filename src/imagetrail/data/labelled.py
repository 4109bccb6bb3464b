"""Labelled by a table, which holds the pictures or names their files."""

import io
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import nearest
from imagetrail.base.samples import CERTAINTY, WEIGHT
from imagetrail.data import columns, decoding, labels, listing, parquet, references, tables
from imagetrail.data.columns import Marked, Row
from imagetrail.data.decoding import Target, Unreadable
from imagetrail.data.listing import Folder
from imagetrail.data.pictures import Examined, Pictures
from imagetrail.data.references import where
from imagetrail.data.tables import Table

READERS: dict[str, Callable[[Path, str, str], Table]] = {
    ".csv": tables.delimited,
    ".tsv": tables.delimited,
    ".jsonl": tables.json_lines,
    ".ndjson": tables.json_lines,
    ".parquet": parquet.load,
}
# What a column of numbers does.
TOLD = {WEIGHT: "pictures count in training", CERTAINTY: "labels are as sure in training"}


def read(place: Path, pattern: str, shown: str) -> Pictures:
    """The pictures that the table `pattern`, or all tables that match it, name or hold.

    Raises UserError, which calls the folder `shown`, for a table that cannot be understood.
    """
    top = listing.scan(place, shown)
    while not (names := _matching(top, pattern)) and len(top.folders) == 1:
        (top,) = top.folders.values()  # what archives wrap around
    if not names:
        raise _no_table(listing.scan(place, shown), pattern, shown)
    found = [_load(top.place / name, name, shown) for name in names]
    inside = {bool(table.pictures) for table in found}
    if len(inside) > 1:
        raise UserError(f"{shown}: some files of {pattern} hold pictures, and some name files")
    take = _held if inside == {True} else _named
    return take(top, [columns.understand(table, shown) for table in found], shown)


def read_file(place: Path, shown: str) -> Pictures:
    """The pictures in a single Parquet file, which messages call `shown`."""
    table = _load(place, place.name, shown)
    if not table.pictures:
        wanted = "name its folder in data.path, and the file in data.table"
        raise UserError(f"{shown}: it names pictures, and does not hold them; {wanted}")
    marked = columns.understand(table, shown)
    return _held(Folder(place.parent, {}, (place.name,)), [marked], shown)


def tables_in(place: Path, shown: str) -> list[str]:
    """The tables at the top, also where an archive has wrapped all into one folder."""
    path, top = "", listing.scan(place, shown)
    while not top.files and len(top.folders) == 1:
        ((name, top),) = top.folders.items()
        path += f"{name}/"
    return [f"{path}{name}" for name in top.files if Path(name).suffix.lower() in READERS]


def _matching(top: Folder, pattern: str) -> list[str]:
    return sorted(path for path in top.below() if path == pattern or fnmatchcase(path, pattern))


def _no_table(top: Folder, pattern: str, shown: str) -> UserError:
    there = [path for path in top.below() if PurePosixPath(path).suffix.lower() in READERS]
    likely = nearest(pattern, there)
    hint = f"did you mean {likely!r}?" if likely else "its path begins at the top of the source"
    return UserError(f"{shown}: data.table: there is no {pattern}; {hint}")


def _load(path: Path, name: str, shown: str) -> Table:
    suffix = path.suffix.lower()
    if suffix not in READERS:
        known = ", ".join(READERS)
        hint = "; `imagetrail import` makes one of a labelling tool's" if suffix == ".json" else ""
        raise UserError(f"{shown}: {name} is no table, whose name ends with {known}{hint}")
    table = READERS[suffix](path, name, shown)
    if not len(table):
        raise UserError(f"{shown}: {name} has no rows")
    return table


# ---- pictures inside the tables ----


def _held(top: Folder, marked: Sequence[Marked], shown: str) -> Pictures:
    contents = parquet.Pictures([(top.place / m.table.name, m.table.pictures) for m in marked])
    rows = [(m, row) for m in marked for row in range(len(m.table))]
    sources = [f"{m.table.name}#{row}" for m, row in rows]
    return _pictures(rows, sources, contents.content, shown)


# ---- pictures that the tables name ----


def _named(top: Folder, marked: Sequence[Marked], shown: str) -> Pictures:
    there = set(top.below())
    first: dict[str, Row] = {}
    again = 0
    for m in marked:
        for row, path in enumerate(references.places(m, there, top.place, shown)):
            if path in first:
                again += 1
                references.refuse_other(path, first[path], (m, row), shown)
            first.setdefault(path, (m, row))
    missing = [path for path in first if path not in there]
    notes = [f"{again} row(s) name a picture again, with the same label"] if again else []
    if missing:
        notes.append(references.missing(missing, first, shown))
    sources = list(first)

    def file(i: int) -> Path:
        if sources[i] not in there:
            raise Unreadable("no such file")
        return top.place / sources[i]

    others = sorted(there - first.keys() - {m.table.name for m in marked})
    ignored = [(path, "not in the table") for path in others]
    return _pictures(list(first.values()), sources, file, shown, ignored, notes)


def _reader(content: Callable[[int], Path | bytes]) -> Callable[[int, Target], Examined]:
    def picture(i: int, target: Target) -> Examined:
        found = content(i)
        return decoding.read(io.BytesIO(found) if isinstance(found, bytes) else found, target)

    return picture


def _pictures(
    rows: Sequence[Row],
    sources: Sequence[str],
    content: Callable[[int], Path | bytes],
    shown: str,
    ignored: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> Pictures:
    marked = dict.fromkeys(m for m, _ in rows)
    kinds = [str(m.labels[row]) for m, row in rows]
    splits = [str(m.splits[row]) for m, row in rows]
    blank = "train" if any(splits) else ""  # beside published ones it is to be learned from
    splits = [split or blank for split in splits]
    groups = tuple(columns.together(rows))
    first = dict(zip(reversed(kinds), reversed(rows), strict=True))
    first = {kind: first[kind] for kind in dict.fromkeys(kinds)}
    labels.check_classes({kind: f" ({where(row)})" for kind, row in first.items()}, shown)
    classes = labels.in_order(first)
    positions = {name: position for position, name in enumerate(classes)}
    one = " or ".join(map(repr, dict.fromkeys(name for m in marked for name in m.grouped_by)))
    together = [f"pictures of one {one} stay on one side of the split"] if one else []
    own: dict[str, Sequence[Any]] = {
        name: [m.own[name][row] or "" if name in m.own else "" for m, row in rows]
        for name in dict.fromkeys(name for m in marked for name in m.own)
    }
    numbers = _numbers(rows, shown)
    together += [f"{TOLD[name]} as the column {name!r} says" for name in numbers]
    return Pictures(
        tuple(classes),
        np.array([positions[kind] for kind in kinds], np.int64),
        tuple(splits),
        tuple(sources),
        _reader(content),
        ignored=tuple(ignored),
        notes=(*notes, *together, *labels.check_counts(kinds, splits, classes, shown)),
        groups=groups if any(groups) else (),
        columns=own | numbers,
        content=content,
    )


def _numbers(rows: Sequence[Row], shown: str) -> dict[str, list[float | None]]:
    """The columns of numbers that some table has, null where another has none.

    Raises UserError if every weight is 0.
    """
    found: dict[str, list[float | None]] = {
        name: [m.numbers[name][row] if name in m.numbers else None for m, row in rows]
        for name in TOLD
        if any(name in m.numbers for m, _ in rows)
    }
    if not any(weight != 0 for weight in found.get(WEIGHT, [None])):
        raise UserError(f"{shown}: every weight is 0: no picture would count in training")
    return found
