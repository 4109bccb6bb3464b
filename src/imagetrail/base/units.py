"""Which images belong together: judged as one, parted as one."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Keys = Sequence[str | int | None]  # of each picture; null and "": it has none

# Pictures that share one of these, of the columns that there are, are one unit.
TOGETHER = ("group", "fingerprint")


def units(index: pa.Table) -> Numbers:
    """A number for each picture, equal for those that belong together, 0 upwards."""
    names = [name for name in TOGETHER if name in index.column_names]
    return connected([index[name].to_pylist() for name in names], len(index))


def connected(columns: Sequence[Keys], count: int) -> Numbers:
    """The connected components of `count` pictures that share a key of any column.

    A number for each picture, 0 upwards in the order of the first of each.
    """
    from scipy.sparse import coo_array  # it takes longer to load than most else here
    from scipy.sparse.csgraph import connected_components

    ties = np.concatenate([np.empty((0, 2), np.int64), *map(_ties, columns)])
    edges = (np.ones(len(ties), bool), (ties[:, 0], ties[:, 1]))
    graph = coo_array(edges, shape=(count, count))
    found: Numbers = connected_components(graph, directed=False)[1].astype(np.int64)
    return found


def _ties(keys: Keys) -> Numbers:
    """Each picture that has the key of an earlier one, and the first that has it: M×2."""
    first: dict[str | int, int] = {}
    pairs = [
        (place, first.setdefault(key, place))
        for place, key in enumerate(keys)
        if key is not None and key != ""
    ]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)
