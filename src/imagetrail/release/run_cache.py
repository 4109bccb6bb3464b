"""DVC's run-cache: for every run, what went in and came out, in a YAML file whose name is a hash of most of it."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

SIZES = ("size", "nfiles")  # which the name leaves out


def is_whole(file: Path, known: Mapping[str, list[int]]) -> bool:
    """Whether an entry is as DVC wrote it; `known`: the sizes of contents, as far as they are known."""
    written = file.read_bytes()
    try:
        entry = YAML(typ="safe").load(written)
    except (YAMLError, ValueError):
        return False
    text = json.dumps(_without_sizes(entry), sort_keys=True, default=str)
    if hashlib.sha256(text.encode()).hexdigest() != file.name or _as_dvc_writes(entry) != written:
        return False
    return all(known.get(md5, found) == found for md5, found in sizes([entry]).items())


def sizes(entries: Iterable[Mapping[str, Any]]) -> dict[str, list[int]]:
    """The size of every content that the entries name, in bytes and, of a folder, files."""
    rows = [row for entry in entries for kind in ("deps", "outs") for row in entry.get(kind, ())]
    return {
        row["md5"]: [row[name] for name in SIZES if name in row] for row in rows if "md5" in row
    }


def _as_dvc_writes(entry: Any) -> bytes:
    yaml, written = YAML(), io.BytesIO()
    yaml.default_flow_style = False
    yaml.dump(entry, written)
    return written.getvalue()


def _without_sizes(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_sizes(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_sizes(item) for key, item in value.items() if key not in SIZES}
    return value
