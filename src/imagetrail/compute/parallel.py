"""Work on all cores or on a cluster: where and how many workers are never changes the results."""

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from loky import cpu_count, get_reusable_executor
from loky.process_executor import BrokenProcessPool

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import choose
from imagetrail.compute.processes import end_with_parent

A = TypeVar("A")
B = TypeVar("B")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
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

    Every worker is a process with one thread, even if there is only one worker: sums in another
    order would give other bits. `function` must be importable, its argument and result picklable;
    it may be called again for an item if its worker dies. IMAGETRAIL_BACKEND says where: on this
    machine (local), or on a cluster (ray).
    """
    backend = choose(BACKENDS, os.environ.get("IMAGETRAIL_BACKEND", "local"), "IMAGETRAIL_BACKEND")
    return backend(function, items)


def _local(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    # A worker whose memory has grown much ends, and another takes its place: no news to users.
    warnings.filterwarnings(
        "ignore", message="A worker (stopped|was restarted)", category=UserWarning
    )
    executor = get_reusable_executor(
        count(),
        timeout=None,  # an idle worker stays: others may train on for long
        env=ONE_THREAD,
        # equal at each call, else loky takes it for another executor and starts new workers
        initializer=end_with_parent,
        initargs=(signal.SIGKILL, os.getpid()),
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


def _ray(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """What a lost node was doing is done again on another.

    All nodes must see this folder under the same path, as the state of a training is a file.
    """
    ray, limit = _cluster(), workers()
    call = ray.remote(max_retries=-1)(_inside)
    results: list[Any] = []
    unfinished: list[Any] = []
    for item in items:
        if len(unfinished) == limit:
            _, unfinished = ray.wait(unfinished)
        results.append(call.remote(Path.cwd(), function, item))
        unfinished.append(results[-1])
    try:
        for result in results:
            yield ray.get(result)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # as the worker raised it


def _cluster() -> Any:
    """Ray, joined to the cluster that RAY_ADDRESS names, or to a new one on this machine."""
    try:
        import ray
    except ImportError:
        raise UserError(
            "IMAGETRAIL_BACKEND=ray needs the extra of that name: pip install 'imagetrail[ray]'"
        ) from None
    if not ray.is_initialized():
        path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        # the first failure is raised; Ray would print the others, each with its traceback
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
        try:
            ray.init(
                runtime_env={"env_vars": ONE_THREAD | path},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError) as error:
            raise UserError(
                f"RAY_ADDRESS: the cluster cannot be reached: {str(error).splitlines()[0]}"
            ) from None
    return ray


def _inside(folder: Path, function: Callable[[A], B], item: A) -> B:
    """Paths are relative to the folder that the search runs in."""
    os.chdir(folder)
    return function(item)


BACKENDS: dict[str, Callable[[Callable[[A], B], Iterable[A]], Iterator[B]]] = {
    "local": _local,
    "ray": _ray,
}
