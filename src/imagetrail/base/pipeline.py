"""dvc.yaml and dvc.lock, read as files: which stage depends on what, and the content that was."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imagetrail.base import hashing, paths
from imagetrail.base.errors import UserError, damaged
from imagetrail.base.files import read_json
from imagetrail.base.params import at, read_yaml

MISSING = object()  # of a value that may be null
LOCK_REMEDY = "bring it back with `git checkout -- dvc.lock`"
OBSERVATIONS = ("timing.json", "SOURCE.json")  # outs that describe a run: they differ each time


@dataclass(frozen=True)
class Stage:
    name: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]
    uncached: frozenset[str]  # outs that git keeps, not DVC's cache


def stages(root: Path = Path()) -> dict[str, Stage]:
    """The stages of dvc.yaml, its `${…}` filled in from params.yaml."""
    described = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    params = read_yaml(root / "params.yaml")
    return {name: _stage(name, _filled(entry, params)) for name, entry in described.items()}


def _filled(value: Any, params: dict[str, Any]) -> Any:
    """With `${…}` filled in after parsing, as DVC does: a path may have any character in it."""
    if isinstance(value, dict):
        return {_filled(key, params): _filled(inner, params) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, params) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$\{([\w.]+)\}", lambda match: str(_at(params, match[1])), value)
    return value


def _stage(name: str, entry: dict[str, Any]) -> Stage:
    outs = [_out(out) for kind in ("outs", "metrics", "plots") for out in entry.get(kind, ())]
    params = [key if isinstance(key, str) else next(iter(key)) for key in entry.get("params", ())]
    return Stage(
        name,
        deps=tuple(entry.get("deps", ())),
        params=tuple(params),
        outs=tuple(path for path, _ in outs),
        uncached=frozenset(path for path, cached in outs if not cached),
    )


def _out(out: str | dict[str, Any]) -> tuple[str, bool]:
    """Its path, and whether DVC caches it."""
    if isinstance(out, str):
        return out, True
    ((path, how),) = out.items()
    return path, how.get("cache", True)


def _at(params: dict[str, Any], key: str) -> Any:
    value = at(params, key, MISSING)
    if value is MISSING:
        raise UserError(f"params.yaml: {key} is missing")
    return value


def lock(root: Path = Path()) -> dict[str, Any]:
    """The stages of dvc.lock; empty if nothing has run."""
    path = root / "dvc.lock"
    if not path.exists() or not path.stat().st_size:
        return {}
    stages = read_yaml(path).get("stages", {})
    if not _whole(stages):
        raise damaged("dvc.lock", "it does not say what stages made", remedy=LOCK_REMEDY)
    return dict(stages)


def _whole(stages: Any) -> bool:
    """Whether each stage's outs have a path and a hash."""
    if not isinstance(stages, dict) or not all(isinstance(one, dict) for one in stages.values()):
        return False
    outs = [out for one in stages.values() for out in one.get("outs") or ()]
    return all(
        isinstance(out, dict) and all(isinstance(out.get(key), str) for key in ("path", "md5"))
        for out in outs
    )


def results(entry: dict[str, Any]) -> dict[str, str]:
    """Path and content hash of each out in a stage's entry of dvc.lock, without observations."""
    return {
        out["path"]: out["md5"]
        for out in entry.get("outs", ())
        if not out["path"].endswith(OBSERVATIONS)
    }


def version(locked: dict[str, Any]) -> str:
    """The identity of a pipeline's results: a hash of dvc.lock without observations."""
    facts = {
        name: {"outs": results(entry), "params": entry.get("params", {})}
        for name, entry in locked.items()
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def inputs(stage: str, root: Path = Path()) -> dict[str, str]:
    """A content hash for each dependency of a stage, "" for one that is missing.

    All of it is read: dvc.lock may speak of other content where a stage was run by hand.
    """
    ignored = hashing.dvcignore(root)
    deps = {dep: root / dep for dep in stages(root)[stage].deps}
    return {
        dep: hashing.md5(path, ignored=ignored) if path.exists() else ""
        for dep, path in deps.items()
    }


def data_version(root: Path = Path()) -> str:
    """The content hash of the training images in dvc.lock; empty if it does not know them."""
    return results(lock(root).get("split", {})).get("data/split/train", "")


def dataset(root: Path = Path()) -> str:
    """The name of the data set that params.yaml chooses."""
    return str(_at(read_yaml(root / "params.yaml"), "data.name"))


def project(root: Path = Path()) -> str:
    """What experiment and registered model are called; params.yaml of before has no `project`."""
    return str(read_yaml(root / "params.yaml").get("project") or dataset(root))


def challenger(root: Path = Path()) -> Path:
    """The ONNX file that `export` chose to ship; raises UserError if there is none."""
    folder = root / paths.ARTIFACTS / "export"
    rows = read_json(folder / "export.json") if (folder / "export.json").exists() else []
    chosen = [row["file"] for row in rows if row.get("chosen")]
    if len(chosen) != 1:
        fault = "names no model that was chosen to ship; run `dvc repro export`"
        raise UserError(f"{folder / 'export.json'} {fault}")
    return folder / str(chosen[0])
