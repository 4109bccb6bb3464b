"""Bring the pictures in. Reads the mirrors or the user's folder, writes data/raw and data/related."""

from pathlib import Path
from typing import Any

from imagetrail import datasets, layout
from imagetrail.choices import choose
from imagetrail.datasets import DATASETS
from imagetrail.errors import UserError
from imagetrail.files import replacing, write_json
from imagetrail.params import load


def run() -> None:
    dataset, own = load(str, "data.name"), load(Path, "data.path")
    related = load(list[str], "pretrain.related")
    check_related(related, dataset)
    source = _fetch(dataset, own, layout.RAW / dataset / "files")
    with replacing(layout.RELATED) as temporary:
        write_json(temporary / "datasets.json", related)  # an out must not be empty, even if no data set is related
        others = [_fetch(name, own, temporary / name) for name in related]
    write_json(layout.RAW / dataset / "SOURCE.json", source | {"related": others})


def check_related(related: list[str], dataset: str) -> None:
    """Raises UserError for a related data set that does not exist, or that is the very one or the user's own."""
    for name in related:
        if name == dataset or not choose(DATASETS, name, "data set in pretrain.related").files:
            raise UserError(
                f"params.yaml: pretrain.related: {name!r} cannot be related to {dataset!r}; name other data sets"
            )


def _fetch(name: str, own: Path, folder: Path) -> dict[str, Any]:
    with replacing(folder) as temporary:
        source = datasets.fetch(name, own, temporary)
    used = sorted({uri.removesuffix(".gz").removesuffix(f"/{file}") for file, uri in source["used"].items()})
    print(f"{name}: from {', '.join(used)}")
    return source
