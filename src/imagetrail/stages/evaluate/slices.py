"""Where the model is weak: how often it is right on each class, source, or value of a column."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives
from imagetrail.base.samples import Samples
from imagetrail.metrics import intervals, scores
from imagetrail.metrics.scores import Floats


def groups(test: Samples, columns: Sequence[str]) -> dict[str, list[str]]:
    """For each way to slice, the slice of every image: by class, source, these index columns.

    A source is the folder that an image is from, without the class, or the file that holds it
    among others; name the column `source` to have it as it stands. Raises UserError for a column
    that is not there.
    """
    for column in columns:
        if column not in test.index.column_names:
            choices = alternatives(column, test.index.column_names)
            raise UserError(f"params.yaml: evaluate.slices: unknown column {column!r}; {choices}")
    kinds = [test.classes[label] for label in test.labels]
    pairs = zip(test.column("source"), kinds, strict=True)
    found = {"class": kinds, "source": [_folder(source, kind) for source, kind in pairs]}
    for column in columns:
        found[column] = ["" if value is None else str(value) for value in test.column(column)]
    return found


def _folder(source: str, kind: str) -> str:
    """`t10k-images#7` is from t10k-images; `test/cat/night/1.jpg`, a cat, is from test/night."""
    path = PurePosixPath(source)
    if path.parent == PurePosixPath():
        return source.rpartition("#")[0]
    return "/".join(part for part in path.parent.parts if part != kind)


def judge(groups: Mapping[str, Sequence[str]], right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """How often the model is right in each slice, with Wilson's 95 % interval."""
    rows: list[dict[str, Any]] = []
    for column, values in groups.items():
        names, which, counts = np.unique(np.array(values), return_inverse=True, return_counts=True)
        hits = np.bincount(which, right).astype(np.int64)
        ends = intervals.wilson(hits, counts)
        for name, count, *shares in zip(names, counts, hits / counts, *ends, strict=True):
            top1, low, high = (round(float(share), 6) for share in shares)
            rows.append(
                {
                    "column": column,
                    "value": str(name),
                    "images": int(count),
                    "top1": top1,
                    "low": low,
                    "high": high,
                }
            )
    return rows


def by_class(probabilities: Floats, test: Samples) -> list[dict[str, Any]]:
    """Precision and recall of each class, with Wilson's 95 % intervals."""
    table = scores.confusion(probabilities, test.labels)
    right, labelled, predicted = table.diagonal(), table.sum(1), table.sum(0)
    rows: list[dict[str, Any]] = [
        {"class": name, "images": int(count)}
        for name, count in zip(test.classes, labelled, strict=True)
    ]
    for name, count in (("precision", predicted), ("recall", labelled)):
        low, high = intervals.wilson(right, count)
        for row, *values in zip(rows, right / np.maximum(count, 1), low, high, strict=True):
            for end, value in zip(("", "_low", "_high"), values, strict=True):
                row[f"{name}{end}"] = round(float(value), 6)
    return rows
