"""Bring the pictures in. Reads the mirrors or the user's folder, writes data/raw and data/related."""

from pathlib import Path

from imagetrail import datasets, layout
from imagetrail.choices import choose
from imagetrail.datasets import DATASETS
from imagetrail.errors import UserError
from imagetrail.files import replacing, write_json
from imagetrail.params import load


def run() -> None:
    dataset, own = load(str, "data.name"), load(Path, "data.path")
    related = load(list[str], "pretrain.related")
    for name in related:
        if name == dataset or not choose(DATASETS, name, "data set in pretrain.related").files:
            raise UserError(
                f"params.yaml: pretrain.related: {name!r} cannot be related to {dataset!r}; name other data sets"
            )
    _fetch(dataset, own, layout.RAW)
    write_json(layout.RELATED / "datasets.json", related)  # an out must not be empty, even if no data set is related
    for name in related:
        _fetch(name, own, layout.RELATED)


def _fetch(name: str, own: Path, folder: Path) -> None:
    target = folder / name
    with replacing(target / "files") as temporary:
        source = datasets.fetch(name, own, temporary)
    write_json(target / "SOURCE.json", source)
    used = sorted({uri.removesuffix(file) for file, uri in source["used"].items()})
    print(f"{name}: from {', '.join(used)}")
