"""Nearest neighbours among vectors of whole numbers, the same on however many threads."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]

ASKING = 1024  # vectors that are compared with the others at once: six threads do so


def nearest(offered: Floats, asking: Floats, count: int) -> Numbers:
    """The rows of `offered` that correlate most with each of `asking`, in no order.

    Of equal ones the first: a key of float64 has the product and the row, exactly.
    """
    count = min(count, len(offered))
    found = [np.zeros((0, count), np.int64)]
    for start in range(0, len(asking), ASKING):
        key = (asking[start : start + ASKING] @ offered.T).astype(np.float64)
        key *= len(offered)
        key -= np.arange(len(offered))
        found.append(np.argpartition(key, -count, axis=1)[:, -count:])
    return np.concatenate(found)


def members(cells_of: Numbers, cells: int) -> list[Numbers]:
    """The rows that are in each cell; cells_of: N×k."""
    order = np.argsort(cells_of.ravel(), kind="stable")
    bounds = np.searchsorted(cells_of.ravel()[order], np.arange(1, cells))
    return np.split(order // cells_of.shape[1], bounds)
