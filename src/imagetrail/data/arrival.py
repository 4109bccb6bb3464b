"""The data set that params.yaml chooses: brought in if need be, and read where it is."""

from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.data import (
    addresses,
    archives,
    checksums,
    corrections,
    datasets,
    listing,
    own,
    store,
)
from imagetrail.data.params import OWN, Data
from imagetrail.data.pictures import Pictures


def fetch(data: Data, folder: Path) -> dict[str, Any]:
    """Puts into `folder` what is not on this machine yet; returns its provenance.

    A folder of the user's stays where it is.
    """
    if data.source in datasets.DATASETS:
        return datasets.fetch(data.source, folder)
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {}
    if data.source != OWN:
        facts = addresses.fetch(data.source, folder, sha256=data.sha256)
    elif not own.stays(data.path):
        own.check(data.path, data.table)
        archives.unpack(data.path, folder, str(data.path))
    else:  # DVC warns of an empty folder
        (folder / "elsewhere.txt").write_text(f"{data.path}\n")
    place, shown = _place(data, folder)
    found = own.read(place, data.table, shown)
    if data.source != OWN and not data.sha256:
        checksums.note(data.source, facts["sha256"])
    return {
        "dataset": data.name,
        "licence": licence(data),
        "tried": [],
        "used": {"": shown},
        "notes": list(found.notes),
        **_amount(place, shown),
        **facts,
    }


def _amount(place: Path, shown: str) -> dict[str, int]:
    names = [""] if place.is_file() else listing.scan(place, shown).below()
    sizes = [(place / name).stat().st_size for name in names]
    return {"files": len(sizes), "bytes": sum(sizes)}


def licence(data: Data) -> str:
    if data.source in datasets.DATASETS:
        return datasets.DATASETS[data.source].licence
    return "the user's own" if data.source == OWN else f"not known; see {data.source}"


def read(data: Data) -> Pictures:
    """All pictures, with the labels of data/corrections.csv; what is decoded once is kept."""
    return corrections.apply(store.kept(originals(data), data.target), paths.CORRECTIONS)


def originals(data: Data) -> Pictures:
    """All pictures, with the labels that they came with; nothing is kept."""
    folder = paths.RAW / data.name / "files"
    if not (folder.exists() or (data.source == OWN and own.stays(data.path))):
        raise UserError(
            f"the pictures of {data.name} are not here yet; run `dvc repro inspect` first"
        )
    if data.source in datasets.DATASETS:
        return datasets.read(data.source, folder)
    place, shown = _place(data, folder)
    return own.read(place, data.table, shown)


def _place(data: Data, folder: Path) -> tuple[Path, str]:
    """Where the pictures are, and what a user calls that."""
    if data.source == OWN:
        return (data.path if own.stays(data.path) else folder), str(data.path)
    if data.table is None and len(single := sorted(folder.glob(f"*{own.PARQUET}"))) == 1:
        return single[0], data.source
    return folder, data.source
