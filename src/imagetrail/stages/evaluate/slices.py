"""Where the model is weak: how often it is right on each class, source, or value of a column."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives
from imagetrail.base.samples import Samples
from imagetrail.metrics import intervals
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


def judge(
    groups: Mapping[str, Sequence[str]], right: NDArray[np.bool_], units: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """How often the model is right in each slice, with its 95 % interval.

    units: a number for each image, equal for those that belong together.
    """
    rows: list[dict[str, Any]] = []
    for column, values in groups.items():
        names, which = np.unique(np.array(values), return_inverse=True)
        for number, name in enumerate(names):
            mine = which == number
            top1, low, high = _share(right[mine], units[mine])
            row = {"column": column, "value": str(name), "images": int(mine.sum())}
            rows.append(row | {"top1": top1, "low": low, "high": high})
    return rows


def by_class(
    probabilities: Floats, test: Samples, units: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Precision and recall of each class, with their 95 % intervals; units: as `judge` has them."""
    predicted = probabilities.argmax(1)
    right = predicted == test.labels
    rows: list[dict[str, Any]] = []
    for label, name in enumerate(test.classes):
        labelled = test.labels == label
        row: dict[str, Any] = {"class": name, "images": int(labelled.sum())}
        for figure, mine in (("precision", predicted == label), ("recall", labelled)):
            ends = _share(right[mine], units[mine])
            row |= dict(zip((figure, f"{figure}_low", f"{figure}_high"), ends, strict=True))
        rows.append(row)
    return rows


def _share(right: NDArray[np.bool_], units: NDArray[np.int64]) -> tuple[float, float, float]:
    """The share that is right and its 95 % interval, as accuracy has it; of no image anything."""
    if not len(right):
        return 0.0, 0.0, 1.0
    _, which = np.unique(units, return_inverse=True)
    low, high = intervals.accuracy(right, which)
    return round(float(right.mean()), 6), round(low, 6), round(high, 6)
