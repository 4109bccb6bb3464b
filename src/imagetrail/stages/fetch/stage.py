"""Bring the pictures in.

Reads the mirrors or the user's folder, writes data/raw, data/related and data/unknown.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.files import replacing, write_json
from imagetrail.base.params import load
from imagetrail.base.terminal import say
from imagetrail.data import arrival, datasets
from imagetrail.data.params import Data, check_others

NAME_OR_NULL: Any = str | None  # mypy takes no union where a type is wanted


def run() -> None:
    data = load(Data, "data")
    related, unknown = load(list[str], "pretrain.related"), load(NAME_OR_NULL, "evaluate.unknown")
    unknowns = [unknown] if unknown else []
    check_others(related, data.source, "params.yaml: pretrain.related")
    check_others(unknowns, data.source, "params.yaml: evaluate.unknown")
    with replacing(paths.RAW / data.name / "files") as folder:
        source = arrival.fetch(data, folder)
    _tell(source)
    source["related"] = _fetch_others(related, paths.RELATED_FILES)
    source["unknown"] = _fetch_others(unknowns, paths.UNKNOWN_FILES)
    write_json(paths.RAW / data.name / "SOURCE.json", source)


def _fetch_others(names: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    with replacing(folder) as temporary:
        write_json(temporary / "datasets.json", list(names))
        found = [datasets.fetch(name, temporary / name) for name in names]
    for source in found:
        _tell(source)
    return found


def _tell(source: dict[str, Any]) -> None:
    used = source["used"].items()
    places = {uri.removesuffix(".gz").removesuffix(f"/{file}") for file, uri in used}
    say(f"{source['dataset']}: from {', '.join(sorted(places)) or 'where it is'}")
    for note in source.get("notes", ()):
        say(f"{source['dataset']}: {note}")
