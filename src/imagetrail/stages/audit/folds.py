"""Parts of all pictures such that what belongs together is in one part."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from imagetrail.base.rng import generator

# Pictures that share one of these, of the columns that there are, stand in one fold.
TOGETHER = ("group", "fingerprint")


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
    units = _units(index)
    _, first, sizes = np.unique(units, return_index=True, return_counts=True)
    labels = index["label"].to_numpy()[first]
    drawn = generator(seed, "folds").permutation(len(first))
    order = np.lexsort((drawn, -sizes, labels))  # by label, the large ones first, else drawn
    dealt = np.empty(len(order), np.int64)
    dealt[order] = np.arange(len(order)) % folds
    return dealt[units]


def spread(labels: NDArray[np.int64], fold: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """Of each class, whether it has pictures in every fold: the least to be learned and judged."""
    folds = int(fold.max(initial=0)) + 1
    there = np.bincount(labels * folds + fold, minlength=classes * folds) > 0
    return np.asarray(there.reshape(classes, folds).all(1))


def _units(index: pa.Table) -> NDArray[np.int64]:
    """A number for each picture, equal for those that belong together, 0 upwards."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    columns = [index[name] for name in TOGETHER if name in index.column_names]
    pictures, keys, nodes = [np.empty(0, np.int64)], [np.empty(0, np.int64)], len(index)
    for column in columns:
        numbers = _numbered(column)
        has = np.flatnonzero(numbers >= 0)
        pictures.append(has)
        keys.append(nodes + numbers[has])
        nodes += int(numbers.max(initial=-1)) + 1
    rows, ends = np.concatenate(pictures), np.concatenate(keys)
    edges = coo_array((np.ones(len(rows), bool), (rows, ends)), shape=(nodes, nodes))
    _, found = connected_components(edges, directed=False)
    return np.unique(found[: len(index)], return_inverse=True)[1].astype(np.int64)


def _numbered(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Equal values as equal numbers, −1 for null."""
    coded = column.combine_chunks().dictionary_encode()
    return np.asarray(coded.indices.fill_null(-1).to_numpy(), np.int64)
