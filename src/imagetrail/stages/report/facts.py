"""What the stages found, by the names that the page uses; None where a file is not there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from imagetrail.base import paths
from imagetrail.base.criteria import Criterion
from imagetrail.base.files import read_csv, read_json
from imagetrail.base.params import load, read_yaml

FILES = {  # the name that templates use: the file, below artifacts
    "data": "inspect/report.json",
    "audit": "audit/metrics.json",
    "suspects": "audit/label_errors.csv",
    "labels": "augment/labels.json",
    "quality": "synthesise/quality.json",
    "best": "tune/best.yaml",
    "trials": "tune/trials.csv",
    "ranking": "compare/ranking.json",
    "recipes": "compare/recipes.json",
    "train": "train/metrics.json",
    "recipe": "train/recipe.json",
    "history": "train/history.csv",
    "activity": "train/activity.csv",
    "crossed": "crossvalidate/metrics.json",
    "test": "evaluate/metrics.json",
    "classes": "evaluate/classes.json",
    "confusion": "evaluate/confusion.csv",
    "coverage": "evaluate/coverage.csv",
    "robustness": "evaluate/robustness.csv",
    "slices": "evaluate/slices.csv",
    "scores": "explain/scores.json",
    "curves": "explain/curves.csv",
    "exported": "export/export.json",
    "trained_on": "export/trained_on.parquet",
    "gate": "gate/decision.json",
}
READERS = {".json": read_json, ".csv": read_csv, ".yaml": read_yaml}
WEAKEST = 10  # slices
Facts = dict[str, Any]


def read() -> Facts:
    """Raises UserError for a file that is damaged."""
    found: Facts = {name: _read(paths.ARTIFACTS / file) for name, file in FILES.items()}
    if found["history"]:
        found["history"] = [
            {name: float(value) for name, value in row.items()} for row in found["history"]
        ]
    if found["slices"] and found["test"]:
        found["slices"] = _weakest(found["slices"], found["test"]["n"])
    return found | {
        "dataset": load(str, "data.name"),
        "by": load(Criterion, "decide_by"),
        "seed": load(int, "seed"),
    }


def _read(path: Path) -> Any:
    if not path.exists():
        return None
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows
    return READERS[path.suffix](path)


def missing(facts: Mapping[str, Any], *names: str) -> str:
    """The stage that makes the first of these that is not there; empty if all are."""
    absent = [FILES[name] for name in names if facts[name] is None]
    return absent[0].partition("/")[0] if absent else ""


def _weakest(rows: list[dict[str, str]], images: int) -> list[dict[str, str]]:
    """The slices that the model is most often wrong on, without classes: they have a table."""
    parts = [row for row in rows if row["column"] != "class" and int(row["images"]) < images]
    return sorted(parts, key=lambda row: float(row["top1"]))[:WEAKEST]
