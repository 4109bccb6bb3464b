"""Work on all cores, results in order: how many workers there are never changes what comes out."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import joblib

A = TypeVar("A")
B = TypeVar("B")


def workers() -> int:
    """IMAGETRAIL_WORKERS, else one process a core."""
    return int(os.environ.get("IMAGETRAIL_WORKERS") or joblib.cpu_count())


def map(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yields function(item) in the order of `items`, as soon as each is there.

    Every worker is a process with one thread, even if there is only one worker: sums in another order would give
    other bits. `function` must be importable, its argument and result picklable.
    """
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        results: Iterator[B] = joblib.Parallel(n_jobs=workers(), return_as="generator")(
            joblib.delayed(function)(item) for item in items
        )
        yield from results
