"""The data set that params.yaml chooses: brought in if need be, and read where it is."""

from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.data import corrections, datasets, folders, store
from imagetrail.data.params import OWN, Data
from imagetrail.data.pictures import Pictures


def fetch(data: Data, folder: Path) -> dict[str, Any]:
    """Puts into `folder` what is not on this machine yet; returns its provenance.

    A folder of the user's stays where it is.
    """
    if data.source != OWN:
        return datasets.fetch(data.source, folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not data.path.is_dir():
        folders.unpack(data.path, folder)
    return {"dataset": data.name, "licence": licence(data), "tried": [], "used": {}}


def licence(data: Data) -> str:
    return "the user's own" if data.source == OWN else datasets.DATASETS[data.source].licence


def read(data: Data) -> Pictures:
    """All pictures, with the labels of data/corrections.csv; what is decoded once is kept."""
    folder = paths.RAW / data.name / "files"
    if data.source != OWN:
        found = datasets.read(data.source, folder)
    else:
        found = folders.read(data.path if data.path.is_dir() else folder)
    return corrections.apply(store.kept(found, data.target), paths.CORRECTIONS)
