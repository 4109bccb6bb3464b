"""Bring the pictures in.

Reads the mirrors or the user's folder, writes data/raw, data/related and data/unknown.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.files import replacing, write_json
from imagetrail.base.params import load
from imagetrail.data import datasets
from imagetrail.data.datasets import check_others

NAME_OR_NULL: Any = str | None  # mypy takes no union where a type is wanted


def run() -> None:
    dataset, own = load(str, "data.name"), load(Path, "data.path")
    related, unknown = load(list[str], "pretrain.related"), load(NAME_OR_NULL, "evaluate.unknown")
    unknowns = [unknown] if unknown else []
    check_others(related, dataset, "params.yaml: pretrain.related")
    check_others(unknowns, dataset, "params.yaml: evaluate.unknown")
    source = _fetch(dataset, own, paths.RAW / dataset / "files")
    source["related"] = _fetch_others(related, own, paths.RELATED_FILES)
    source["unknown"] = _fetch_others(unknowns, own, paths.UNKNOWN_FILES)
    write_json(paths.RAW / dataset / "SOURCE.json", source)


def _fetch_others(names: Sequence[str], own: Path, folder: Path) -> list[dict[str, Any]]:
    with replacing(folder) as temporary:
        write_json(temporary / "datasets.json", list(names))
        return [_fetch(name, own, temporary / name) for name in names]


def _fetch(name: str, own: Path, folder: Path) -> dict[str, Any]:
    with replacing(folder) as temporary:
        source = datasets.fetch(name, own, temporary)
    used = source["used"].items()
    places = {uri.removesuffix(".gz").removesuffix(f"/{file}") for file, uri in used}
    print(f"{name}: from {', '.join(sorted(places))}")
    return source
