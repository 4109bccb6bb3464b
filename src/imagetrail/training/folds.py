"""Parts of all pictures such that what belongs together is in one part."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from imagetrail.base.rng import generator
from imagetrail.base.units import TOGETHER, units


def together(indices: Mapping[str, pa.Table]) -> pa.Table:
    """Of the indices of several splits by name what an audit needs, one after the other.

    A column that only some of them have is null in the others.
    """
    wanted = ("id", "label", "source", *TOGETHER)
    parts = [
        index.select([name for name in wanted if name in index.column_names]).append_column(
            "split", pa.array([split] * len(index), pa.string())
        )
        for split, index in indices.items()
    ]
    return pa.concat_tables(parts, promote_options="permissive")


def assign(index: pa.Table, *, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each picture. A class is spread over the folds as evenly as its groups allow."""
    of = units(index)
    _, first, sizes = np.unique(of, return_index=True, return_counts=True)
    labels = index["label"].to_numpy()[first]
    drawn = generator(seed, "folds").permutation(len(first))
    order = np.lexsort((drawn, -sizes, labels))  # by label, the large ones first, else drawn
    dealt = np.empty(len(order), np.int64)
    dealt[order] = np.arange(len(order)) % folds
    return dealt[of]


def spread(labels: NDArray[np.int64], fold: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """Of each class, whether it has pictures in every fold: the least to be learned and judged."""
    folds = int(fold.max(initial=0)) + 1
    there = np.bincount(labels * folds + fold, minlength=classes * folds) > 0
    return np.asarray(there.reshape(classes, folds).all(1))
