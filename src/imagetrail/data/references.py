"""Which files the rows of a table mean, and what speaks against what they say of them."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from imagetrail.base.errors import UserError
from imagetrail.base.words import printable
from imagetrail.data import listing
from imagetrail.data.columns import Marked, Row

FIRST, LONGEST = 3, 200  # missing files that are named, and characters of a path
PLAIN = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")  # a path that needs no second look


def places(m: Marked, there: set[str], top: Path, shown: str) -> list[str]:
    """Where each row's file is, from the top: rows count from the table's folder or from the top.

    A name whose letters have another Unicode form, as on a Mac, is the same name.
    """
    written = [
        path if PLAIN.fullmatch(path) else _plain(path, top, f"{shown}: {m.table.where(row)}")
        for row, path in enumerate(map(str, m.paths))
    ]
    parent = PurePosixPath(m.table.name).parent
    if parent.parts:
        beside = [f"{parent}/{path}" for path in written]
        if sum(path in there for path in beside) >= sum(path in there for path in written):
            written = beside
    if all(path in there for path in written):
        return written
    forms = {unicodedata.normalize("NFC", path): path for path in there}
    return [
        path if path in there else forms.get(unicodedata.normalize("NFC", path), path)
        for path in written
    ]


def _plain(path: str, top: Path, where: str) -> str:
    """A path with / that begins in the source, however it was written."""
    if fault := listing.flaw(path):
        raise UserError(f"{where}: {printable(path)}: the path {fault}")
    found = PurePosixPath(path.strip().replace("\\", "/"))
    for root in (top.absolute(), top.resolve()):
        if found.is_relative_to(root):
            found = found.relative_to(root)
    if found.is_absolute() or re.match(r"[A-Za-z]:", str(found)):
        fault = "is not in the source; write its path from the folder of the table"
        raise UserError(f"{where}: {path} {fault}")
    if "://" in path:
        raise UserError(f"{where}: {path} is an address; put the file beside the table")
    if ".." in found.parts:
        raise UserError(f"{where}: {path} leads out with ..; write it without")
    return str(found)


def refuse_other(path: str, one: Row, other: Row, shown: str) -> None:
    """Raises UserError if two rows say different things of a picture."""
    said = [
        {"label": m.labels[row], "split": m.splits[row], "group": m.group(row)}
        | {name: values[row] for name, values in m.numbers.items()}
        for m, row in (one, other)
    ]
    for what, value in said[0].items():
        if value != said[1].get(what, value):
            fault = f"{path} has {what} {value!r} and {said[1][what]!r}"
            raise UserError(f"{shown}: {where(one)} and {where(other)}: {fault}; leave one row")


def missing(missing: Sequence[str], first: Mapping[str, Row], shown: str) -> str:
    """Tells them; raises UserError if it is all, which is a mistake in the paths."""
    named = ", ".join(f"{path[:LONGEST]} ({where(first[path])})" for path in missing[:FIRST])
    if len(missing) == len(first):
        raise UserError(
            f"{shown}: none of the {len(first)} files of the table is there: {named}; "
            "paths are meant from the folder of the table, or from the top of the source"
        )
    more = f" and {len(missing) - FIRST} more" if len(missing) > FIRST else ""
    return f"{len(missing)} of {len(first)} files of the table are missing: {named}{more}"


def where(row: Row) -> str:
    return row[0].table.where(row[1])
