"""The data sets that a stage has used: of its deps those that had a share in what it did."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.files import read_csv, read_json

NO_PICTURES = (paths.CORRECTIONS, paths.SCHEMA, paths.WEIGHTS, paths.HUB)


def used(stage: str, locked: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """DVC's content hash by path, of the stages of dvc.lock; folder: of the stage's results."""
    entry = locked[stage]
    if _params(entry).get("split.folds") == 0 and stage == "crossvalidate":
        return {}
    recipes = list(_recipes(stage, folder))
    idle = {
        str(path)
        for field, path in paths.SHARES.items()
        if recipes and not any(float(recipe.get(field) or 0) for recipe in recipes)
    }
    idle |= _empty(_params(locked.get("fetch", {}))) | set(map(str, NO_PICTURES))
    deps = {dep["path"]: dep["md5"] for dep in entry.get("deps", ())}
    own = _params(locked.get("fetch", {})).get("data.path")  # may lie anywhere
    return {
        path: md5
        for path, md5 in deps.items()
        if (path.startswith("data/") or path == own) and path not in idle
    }


def _params(entry: Mapping[str, Any]) -> dict[str, Any]:
    return dict(entry.get("params", {}).get("params.yaml", {}))


def _empty(fetched: Mapping[str, Any]) -> set[str]:
    """The folders that `fetch` was told to leave empty, and what is made of them."""
    empty = set()
    if fetched.get("data.source", "own") != "own":
        empty.add(str(fetched.get("data.path")))
    if fetched.get("pretrain.related") == []:
        empty |= {str(paths.RELATED_FILES), str(paths.RELATED)}
    if "evaluate.unknown" in fetched and fetched["evaluate.unknown"] is None:
        empty |= {str(paths.UNKNOWN_FILES), str(paths.UNKNOWN)}
    return empty


def _recipes(stage: str, folder: Path) -> Iterator[Mapping[str, Any]]:
    """Those that the stage trained by."""
    if stage == "train":
        yield read_json(folder / "recipe.json")
    if stage == "tune":
        recipe = read_json(folder / "recipe.json")
        for row in read_csv(folder / "trials.csv"):
            yield recipe | {name: value for name, value in row.items() if value != ""}
    if stage == "compare":
        for arms in read_json(folder / "recipes.json").values():
            yield from arms.values()
