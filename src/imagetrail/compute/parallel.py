"""Work on all cores or on a cluster: where and how many workers are never changes the results."""

import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from loky import cpu_count, get_reusable_executor
from loky.process_executor import BrokenProcessPool

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import choose
from imagetrail.compute import cluster
from imagetrail.compute.processes import ONE_THREAD, end_with_parent

A = TypeVar("A")
B = TypeVar("B")
BACKENDS = {"local": False, "ray": True}  # whether that is elsewhere
AGAIN = "what was finished is kept: run the same command again to go on"


def workers() -> int | None:
    """IMAGETRAIL_WORKERS; None if it is not set: as many as there are cores."""
    number = os.environ.get("IMAGETRAIL_WORKERS")
    if not number:
        return None
    if not number.isdigit() or int(number) < 1:
        raise UserError(
            f"IMAGETRAIL_WORKERS is {number!r}; it must be a number of processes, 1 or more"
        )
    return int(number)


def count() -> int:
    """How many workers there are on this machine."""
    return workers() or int(cpu_count())


def map(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yields function(item) in the order of `items`, each as soon as it and all before are there.

    Every worker is a process of this machine with one thread, even if there is only one worker:
    sums in another order would give other bits. `function` must be importable, its argument and
    result picklable; it may be called again for an item if its worker dies.
    """
    # A worker whose memory has grown much ends, and another takes its place: no news to users.
    warnings.filterwarnings(
        "ignore", message="A worker (stopped|was restarted)", category=UserWarning
    )
    executor = get_reusable_executor(
        count(),
        timeout=None,  # an idle worker stays: others may train on for long
        env=ONE_THREAD,
        # equal at each call, else loky takes it for another executor and starts new workers
        initializer=_begin,
        initargs=(os.getpid(), Path.cwd()),
    )
    todo, done = list(items), 0
    try:
        for result in executor.map(function, todo):
            done += 1
            yield result
    except BrokenProcessPool:
        raise UserError(
            "a worker was killed, perhaps for want of memory "
            f"(IMAGETRAIL_WORKERS=1 needs less); {AGAIN}"
        ) from None
    finally:
        if done < len(todo):  # nobody wants the rest; else the workers stay for the next call
            executor.shutdown(kill_workers=True)


def _begin(parent: int, folder: Path) -> None:
    """In a new worker, which stays in this folder, and ends when the parent does."""
    os.chdir(folder)
    end_with_parent(signal.SIGKILL, parent)


def spread(
    function: Callable[[A], B],
    items: Iterable[A],
    *,
    reads: Sequence[Path],
    keeps: Callable[[A], Path],
) -> Iterator[B]:
    """As `map`, on this machine or, with IMAGETRAIL_BACKEND=ray, on a cluster that shares no files.

    All that `function` has of this machine there are these paths, relative to the working folder:

    reads: files and folders that it reads, of those that there are.
    keeps: of an item, the file or folder in which the function finds and leaves its state.
    """
    backend = os.environ.get("IMAGETRAIL_BACKEND", "local")
    if choose(BACKENDS, backend, "IMAGETRAIL_BACKEND"):
        return cluster.spread(function, items, reads=reads, keeps=keeps, most=workers())
    return map(function, items)
