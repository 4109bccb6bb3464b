"""Corrections of labels by people: kept in git, laid over the pictures, never written into them."""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from io import StringIO
from pathlib import Path

import numpy as np

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing
from imagetrail.base.lookup import alternatives
from imagetrail.base.samples import CERTAINTY
from imagetrail.base.words import count_of
from imagetrail.data import tables
from imagetrail.data.pictures import Pictures

DROP = "drop"  # as a label: the picture is left out


@dataclass(frozen=True)
class Correction:
    source: str  # of the picture, as Pictures.sources has it
    label: str  # a class, or DROP
    by: str = ""
    why: str = ""


COLUMNS = tuple(field.name for field in fields(Correction))


def read(path: Path) -> list[Correction]:
    """What the file holds, a picture once; nothing if there is none.

    Raises UserError, with the line, for what is no correction or contradicts an earlier one.
    """
    return [correction for _, correction in _numbered(path)]


def write(path: Path, corrections: Sequence[Correction]) -> None:
    """Writes the file anew, whole or not at all; a picture must be in it once."""
    rows = [COLUMNS, *(astuple(correction) for correction in corrections)]
    with replacing(path) as temporary:
        text = "".join(",".join(map(_quoted, row)) + "\n" for row in rows)
        temporary.write_text(text, encoding="utf-8", newline="")


def _quoted(value: str) -> str:
    """A cell of CSV. csv.writer leaves a lone carriage return as it is, which ends the row."""
    return '"' + value.replace('"', '""') + '"' if re.search('[",\r\n]', value) else value


def apply(pictures: Pictures, path: Path) -> Pictures:
    """The pictures with the labels that `path` gives, and without those to be dropped.

    A label from there is sure. A class whose pictures have all gone is a class no longer. A note
    says what was done. Raises UserError for a label that is no class, as corrections make no new
    ones.
    """
    numbered = _numbered(path)
    if not numbered:
        return pictures
    places = {source: i for i, source in enumerate(pictures.sources)}
    numbers = {name: label for label, name in enumerate(pictures.classes)}
    labels, kept, gone = pictures.labels.copy(), np.ones(len(pictures), bool), []
    columns = {name: list(values) for name, values in pictures.columns.items()}
    for line, correction in numbered:
        _check(correction.label, numbers, f"{path}, line {line}")
        place = places.get(correction.source)
        if place is None:
            gone.append(correction.source)
        elif correction.label == DROP:
            kept[place] = False
        else:
            labels[place] = numbers[correction.label]
            if CERTAINTY in columns:  # it was that of the label in the table
                columns[CERTAINTY][place] = None
    if not kept.any():
        raise UserError(f"{path} drops every picture; take rows out of it")
    decided = replace(pictures, labels=labels, columns=columns)
    corrected = decided.take(np.flatnonzero(kept).tolist())
    emptied = sorted(set(pictures.labels.tolist()) - set(corrected.labels.tolist()))
    changed = int((labels != pictures.labels)[kept].sum())
    said = [f"{path}: {_done(changed, len(kept) - len(corrected), gone)}"]
    said += [
        f"warning: class {pictures.classes[label]!r} has no picture left after {path} and is no "
        "class any more"
        for label in emptied
    ]
    return _without(replace(corrected, notes=(*pictures.notes, *said)), emptied)


def _done(changed: int, dropped: int, gone: Sequence[str]) -> str:
    """What corrections have done; gone: what they name that is not there."""
    said = f"{count_of(changed, 'label')} changed, {count_of(dropped, 'picture')} dropped"
    if not gone:
        return said
    one = "1 row names a picture that is"
    rows = one if len(gone) == 1 else f"{len(gone):,} rows name pictures that are"
    return f"{said}; {rows} not there, the first {gone[0]}"


def _check(label: str, classes: Collection[str], where: str) -> None:
    if label == DROP and DROP in classes:
        raise UserError(
            f"{where}: {DROP!r} leaves a picture out, and is a class as well; "
            "call the class something else"
        )
    if label != DROP and label not in classes:
        raise UserError(
            f"{where}: unknown class {label!r}; {alternatives(label, {*classes, DROP})}"
        )


def _without(pictures: Pictures, emptied: Sequence[int]) -> Pictures:
    """The pictures without classes that none of them is of."""
    left = [label for label in range(len(pictures.classes)) if label not in emptied]
    numbers = np.zeros(len(pictures.classes), np.int64)
    numbers[left] = np.arange(len(left))
    classes = tuple(pictures.classes[label] for label in left)
    return replace(pictures, classes=classes, labels=numbers[pictures.labels])


def _numbered(path: Path) -> list[tuple[int, Correction]]:
    """The corrections, each with the line that it ends on."""
    found: dict[str, tuple[int, Correction]] = {}
    for line, correction in _rows(path):
        source = correction.source
        earlier, other = found.setdefault(source, (line, correction))
        if other.label != correction.label:
            raise UserError(
                f"{path}: {source} is {other.label!r} in line {earlier}, "
                f"{correction.label!r} in line {line}; keep one"
            )
    return list(found.values())


def _rows(path: Path) -> Iterator[tuple[int, Correction]]:
    reader = csv.reader(StringIO(_text(path), newline=""), strict=True)
    begins = 1
    try:
        header = next(reader, list(COLUMNS))
        begins = reader.line_num + 1
        if sorted(header) != sorted(COLUMNS):
            raise UserError(
                f"{path} has the columns {', '.join(header)}; they must be {', '.join(COLUMNS)}, "
                "with a comma between them"
            )
        for cells in reader:
            row = dict(zip(header, cells, strict=False))
            begins = reader.line_num + 1
            if not cells:
                continue
            if len(cells) != len(header) or not (row["source"] and row["label"]):
                raise UserError(
                    f"{path}, line {reader.line_num}: a row needs {', '.join(COLUMNS)}, "
                    "of which by and why may be empty; a comma within them wants quotes"
                )
            yield reader.line_num, Correction(**row)
    except csv.Error as error:
        raise UserError(f"{path}, {tables.broken(error, begins, reader.line_num)}") from None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: it is not UTF-8; save it as UTF-8") from None
