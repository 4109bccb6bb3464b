"""Work on all cores, results in order: how many workers there are never changes what comes out."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor

A = TypeVar("A")
B = TypeVar("B")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}


def workers() -> int:
    """IMAGETRAIL_WORKERS, else one process a core."""
    return int(os.environ.get("IMAGETRAIL_WORKERS") or joblib.cpu_count())


def map(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yields function(item) in the order of `items`, as soon as each is there.

    Every worker is a process with one thread, even if there is only one worker: sums in another order would give
    other bits. `function` must be importable, its argument and result picklable.
    """
    executor = get_reusable_executor(max_workers=workers(), env=ONE_THREAD)
    results: Iterator[B] = executor.map(function, items)
    yield from results
