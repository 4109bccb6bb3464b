"""Which images belong together: judged as one, parted as one."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Pictures that share one of these, of the columns that there are, are one unit.
TOGETHER = ("group", "fingerprint")


def units(index: pa.Table) -> NDArray[np.int64]:
    """A number for each picture, equal for those that belong together, 0 upwards."""
    return tied((index[name] for name in TOGETHER if name in index.column_names), len(index))


def tied(columns: Iterable[pa.ChunkedArray], count: int) -> NDArray[np.int64]:
    """Of `count` pictures a number each, equal for those that share a value of a column, 0 upwards.

    They may share it by way of others: the connected components. A null is no value.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pictures, keys, nodes = [np.empty(0, np.int64)], [np.empty(0, np.int64)], count
    for column in columns:
        numbers = _numbered(column)
        has = np.flatnonzero(numbers >= 0)
        pictures.append(has)
        keys.append(nodes + numbers[has])
        nodes += int(numbers.max(initial=-1)) + 1
    rows, ends = np.concatenate(pictures), np.concatenate(keys)
    edges = coo_array((np.ones(len(rows), bool), (rows, ends)), shape=(nodes, nodes))
    _, found = connected_components(edges, directed=False)
    return np.unique(found[:count], return_inverse=True)[1].astype(np.int64)


def _numbered(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Equal values as equal numbers, −1 for null."""
    coded = column.combine_chunks().dictionary_encode()
    return np.asarray(coded.indices.fill_null(-1).to_numpy(), np.int64)
