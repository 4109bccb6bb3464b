"""The user's own pictures, wherever they are and however they are labelled."""

from pathlib import Path

from imagetrail.base.errors import UserError
from imagetrail.data import archives, folders, labelled
from imagetrail.data.pictures import Pictures

PARQUET = ".parquet"


def stays(place: Path) -> bool:
    """Whether the pictures are read where they are: a folder, or a Parquet file with pictures."""
    return place.is_dir() or place.suffix.lower() == PARQUET


def check(place: Path, table: str | None) -> None:
    """Raises UserError for what can be said before anything is unpacked."""
    if stays(place):
        read(place, table, str(place))
    elif place.suffix.lower() in labelled.READERS:
        wanted = f"write data.path: {place.parent} and data.table: {place.name}"
        raise UserError(f"{place} is a table without its pictures; {wanted}")
    elif not archives.is_archive(place):
        if archives.seems_one(place):
            raise UserError(f"{place} is an archive that is cut off or damaged; make it anew")
        wanted = "data.path must name a folder that has a folder of pictures for each class"
        fault = f"is neither a folder nor an archive ({archives.KINDS})"
        raise UserError(f"{place} {fault}; {wanted}")


def read(place: Path, table: str | None, shown: str) -> Pictures:
    """The pictures in a folder or Parquet file, which messages call `shown`; raises UserError."""
    if place.is_file():
        return labelled.read_file(place, shown)
    if table is not None:
        return labelled.read(place, table, shown)
    try:
        return folders.read(place, shown)
    except UserError as fault:
        for one in labelled.tables_in(place, shown):
            raise UserError(f"{fault}; or set data.table: {one}, if that has the labels") from None
        raise
