"""What `imagetrail init` is pointed at: folder, archive, table, address or published data set."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import names_in
from imagetrail.data import addresses, archives, arrival, labelled, own
from imagetrail.data.own import PARQUET
from imagetrail.data.params import OWN, PUBLISHED, Data
from imagetrail.data.pictures import Pictures

TOO_GENERAL = {"data", "dataset", "images", "own", "photos", "pictures"}  # to call a data set
LARGEST = 500_000_000  # bytes of an archive that is unpacked only to be looked at


@dataclass(frozen=True)
class Origin:
    """The fields of the `data` section that say where the pictures are."""

    name: str
    source: str
    path: Path
    table: str | None = None

    def data(self, **other: Any) -> Data:
        """The section with these fields; size and colour matter to nobody yet."""
        fields = {**vars(self), "image_size": 64, "channels": 3, **other}
        return Data.model_validate(fields)


def find(where: str, default: Path) -> Origin:
    """What `where` means; raises UserError if it means nothing here.

    default: what `data.path` stays where it does not matter.
    """
    if "://" in where:
        addresses.check(where)
        return Origin(named(Path(where.split("?")[0].rstrip("/"))), where, default)
    path = Path(where).expanduser()
    if where in names_in(PUBLISHED) and not path.exists():
        return Origin(where, where, default)
    if not path.exists():
        published = ", ".join(names_in(PUBLISHED))
        others = f"a published data set ({published}) or an address such as https://…"
        raise UserError(f"{where}: no such file or folder; name yours, {others}")
    table = None
    if path.is_file() and path.suffix.lower() in labelled.READERS.keys() - {PARQUET}:
        path, table = path.parent, path.name
    return Origin(named(path), OWN, _kept(path), table)


def named(path: Path) -> str:
    """A name of the data set, which DVC, MLflow's experiments and its registry all take."""
    stem = re.sub(r"(\.(zip|tar|tgz|tbz2|txz|gz|bz2|xz|zst|parquet|csv))+$", "", path.name)
    if stem.lower() in TOO_GENERAL | {"", ".", ".."}:
        stem = path.resolve().parent.name if stem else path.resolve().name
        if stem.lower() in TOO_GENERAL:
            stem = Path.cwd().name
    return re.sub(r"[^\w.-]+|^[^\w]+", "-", stem).strip("-.")[:100] or "pictures"


def _kept(path: Path) -> Path:
    """Relative as it was given, and from the repository where it is in it."""
    here, full = Path.cwd(), Path(os.path.abspath(path))  # noqa: PTH100  links stay as they are
    if here.is_relative_to(full) or (full.is_relative_to(here) and _ours(full.relative_to(here))):
        fault = "has the project's own files in it; put the pictures into a folder of their own"
        raise UserError(f"{path}: {fault}, such as data/own")
    if path.is_absolute():
        return full.relative_to(here) if full.is_relative_to(here) else full
    return Path(os.path.normpath(path))


def _ours(inside: Path) -> bool:
    """Whether stages write there, or a stage's results are below."""
    kept = (Path("data/own"), Path("data/weights"))
    folders = (Path("data"), paths.ARTIFACTS, paths.CHAMPION)
    return any(inside == folder for folder in folders) or (
        any(inside.is_relative_to(folder) for folder in folders)
        and not any(inside.is_relative_to(folder) for folder in kept)
    )


@contextmanager
def opened(origin: Origin) -> Iterator[tuple[Origin, Pictures | None]]:
    """The origin, with the table that names the pictures, and those that can be looked at now.

    None: they are still to be brought in, or are too many to be unpacked for a look.
    """
    brought = paths.RAW / origin.name / "files"
    known = brought.is_dir() and any(brought.iterdir())
    if origin.source in names_in(PUBLISHED):
        yield origin, arrival.originals(origin.data()) if known else None
    elif origin.source != OWN:
        yield _read(origin, brought) if known else (origin, None)
    elif origin.path.is_dir():
        yield _read(origin, origin.path)
    elif origin.path.suffix.lower() == PARQUET:
        yield _parquet(origin)
    elif origin.path.stat().st_size > LARGEST:
        yield _read(origin, brought) if known else (origin, None)
    else:
        with tempfile.TemporaryDirectory(prefix="imagetrail-") as scratch:
            folder = Path(scratch) / "files"
            try:
                yield _unpacked(origin, folder)
            except UserError as fault:
                raise UserError(str(fault).replace(str(folder), str(origin.path))) from None


def _parquet(origin: Origin) -> tuple[Origin, Pictures]:
    """The pictures that are in the file, else those beside it that it names."""
    try:
        return origin, arrival.originals(origin.data())
    except UserError:
        folder = origin.path.parent
        beside = Origin(named(folder), origin.source, folder, origin.path.name)
        return _read(beside, folder)


def _unpacked(origin: Origin, folder: Path) -> tuple[Origin, Pictures]:
    own.check(origin.path, None)
    archives.unpack(origin.path, folder, str(origin.path))
    return _read(origin, folder)


def _read(origin: Origin, folder: Path) -> tuple[Origin, Pictures]:
    """The pictures by the one table that names them, else by class sub-folders."""
    shown = str(origin.path) if origin.source == OWN else origin.source
    tables = [] if origin.table else labelled.tables_in(folder, shown)
    if not tables:
        return origin, arrival.originals(origin.data(path=folder))
    found, faults = [], []
    for table in tables:
        try:
            found.append((table, arrival.originals(origin.data(path=folder, table=table))))
        except UserError as fault:
            faults.append(fault)
    if len(found) > 1:
        names = ", ".join(table for table, _ in found)
        unpack, top = ("", folder) if folder == origin.path else ("unpack it, and ", Path("…"))
        raise UserError(
            f"{shown}: {names} are tables of pictures; {unpack}name the one that is meant: "
            f"`imagetrail init {top / found[0][0]}`"
        )
    if found:
        ((table, pictures),) = found
        return Origin(origin.name, origin.source, origin.path, table), pictures
    try:
        return origin, arrival.originals(origin.data(path=folder))
    except UserError:
        raise faults[0] from None
