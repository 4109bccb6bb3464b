"""Which stages are out of date, and why: what dvc.lock noted against what is on disk.

`dvc status` hashes all there is, for as long as that takes. Here what one stage hands to another is
compared by what dvc.lock says of it, small files and code by content, and what is large, such as a
folder of pictures, by the number and the bytes of its files.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagetrail.base import hashing, pipeline
from imagetrail.base.params import at, read_yaml
from imagetrail.base.pipeline import Stage

SMALL = 4_000_000  # bytes, that are hashed
SHOWN = 24  # characters of a value
ABSENT = "absent"

Entry = dict[str, Any]  # a stage, a dep or an out in dvc.lock


@dataclass(frozen=True)
class State:
    """Of a stage. waits: for the stage that makes what it reads, which is stale or waits itself."""

    name: str
    why: tuple[str, ...]
    waits: str | None = None

    @property
    def word(self) -> str:
        return "stale" if self.why else "waits" if self.waits else "fresh"


def states(root: Path = Path()) -> list[State]:
    """Every stage of dvc.yaml, in order."""
    stages, locked = pipeline.stages(root), pipeline.lock(root)
    params, ignored = read_yaml(root / "params.yaml"), hashing.dvcignore(root)
    makers = {out: name for name, stage in stages.items() for out in stage.outs}
    made = {out["path"]: out["md5"] for entry in locked.values() for out in entry.get("outs", ())}
    seen: dict[str, str] = {}  # hashes of what no stage makes
    found: dict[str, State] = {}
    for name, stage in stages.items():
        why = ["has not run"]
        if entry := locked.get(name):
            why = [*_changed_params(stage, entry, params)]
            for dep in stage.deps:
                noted = _of(entry, "deps", dep)
                if dep not in makers and dep not in seen:
                    seen[dep] = _seen(root / dep, noted, ignored)
                now = made.get(dep, "") if dep in makers else seen[dep]
                if now != noted.get("md5", ""):
                    why.append(_changed(dep, now, noted))
            why += _changed_outs(root, stage, entry)
        above = (found[makers[dep]] for dep in stage.deps if dep in makers)
        waits = next((state.name for state in above if state.word != "fresh"), None)
        found[name] = State(name, tuple(why), waits)
    return list(found.values())


def _of(entry: Entry, kind: str, path: str) -> Entry:
    return next((one for one in entry.get(kind, ()) if one["path"] == path), {})


def _changed(dep: str, now: str, noted: Entry) -> str:
    if not noted:
        return f"{dep} is new to it"
    return f"{dep} changed" if now else f"{dep} is gone"


def _changed_outs(root: Path, stage: Stage, entry: Entry) -> Iterator[str]:
    for out in stage.outs:
        noted, path = _of(entry, "outs", out), root / out
        if not noted or not path.exists():
            yield f"{out} is missing"
        elif path.is_file() and _seen(path, noted, None) != noted["md5"]:
            yield f"{out} is not as it was made"


def _seen(path: Path, noted: Entry, ignored: hashing.Ignored | None) -> str:
    """Its hash if it is small, else the one noted if count and bytes are as noted, else `?`.

    Empty if nothing is there.
    """
    if not path.exists():
        return ""
    files = [path] if path.is_file() else _files(path, ignored)
    size = sum(file.stat().st_size for file in files)
    if size <= SMALL:
        return hashing.md5(path, ignored=ignored)
    alike = size == noted.get("size") and len(files) == noted.get("nfiles", 1)
    return str(noted["md5"]) if alike else "?"


def _files(folder: Path, ignored: hashing.Ignored | None) -> list[Path]:
    files = (Path(base, name) for base, _, names in os.walk(folder) for name in names)
    return [file for file in files if not (ignored and ignored(file)) and file.exists()]


def _changed_params(stage: Stage, entry: Entry, params: dict[str, Any]) -> Iterator[str]:
    noted = entry.get("params", {}).get("params.yaml", {})
    for key in stage.params:
        before, now = noted.get(key, ABSENT), at(params, key, ABSENT)
        yield from _differences(key, before, now)


def _differences(key: str, before: Any, now: Any) -> Iterator[str]:
    """Each value that differs, by its own key."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            inner = (each.get(name, ABSENT) for each in (before, now))
            yield from _differences(f"{key}.{name}", *inner)
    elif not _same(before, now):
        yield f"{key} {_short(before)} → {_short(now)}"


def _same(before: Any, now: Any) -> bool:
    """Equal as numbers too: `1e-3` is text to one reader of YAML and a number to another."""
    if before == now:
        return True
    try:
        return float(before) == float(now)
    except (TypeError, ValueError):
        return False


def _short(value: Any) -> str:
    text = "null" if value is None else str(value).lower() if value in (True, False) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
