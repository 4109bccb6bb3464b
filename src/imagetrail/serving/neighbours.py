"""The pictures whose features are nearest to those of one, among however many."""

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 20  # values of the features that are compared at a time


def closest(known: NDArray[np.float32], mine: NDArray[np.float32], count: int) -> list[int]:
    """Numbers of the rows of `known` N×D that are nearest to `mine` D, the nearest first.

    Distances are Euclidean, in blocks of bounded size.
    """
    step = max(1, BLOCK // len(mine))
    starts = range(0, len(known), step)
    parts = [np.linalg.norm(known[start : start + step] - mine, axis=1) for start in starts]
    order: list[int] = np.argsort(np.concatenate(parts), kind="stable")[:count].tolist()
    return order
