"""Work on a Ray cluster whose nodes share no folder with this machine, nor with one another.

A node needs Python and the packages that decide a training's bits, in the versions that are here.
This package's own code travels, as do the files that jobs read; the state of a job comes back when
it has ended. A job whose node is lost begins again, from the state that it was given, on another.
"""

import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from imagetrail.base.errors import UserError
from imagetrail.base.terminal import say
from imagetrail.compute import luggage
from imagetrail.compute.luggage import Content, State
from imagetrail.compute.processes import ONE_THREAD

A = TypeVar("A")
B = TypeVar("B")
Stamp = tuple[tuple[str, int, int], ...]  # path, bytes and time of files
CODE = Path(__file__).parents[1]  # this package
DECISIVE = ("numpy", "pyarrow", "safetensors", "torch")  # packages
SETTINGS = ("IMAGETRAIL_DEVICE", "IMAGETRAIL_PRECISION")  # variables that go along
TIMES = 20  # a job is begun, at most, where its worker is killed each time


def spread(
    function: Callable[[A], B],
    items: Iterable[A],
    *,
    reads: Sequence[Path],
    keeps: Callable[[A], Path],
    most: int | None,
) -> Iterator[B]:
    """Yields function(item) in the order of `items`; `parallel.spread` says what the rest is.

    most: jobs at once; None: as many as the cluster has room for.
    """
    ray = _joined()
    call = ray.remote(num_cpus=1, num_gpus=_gpus(ray), max_retries=TIMES)(_work)
    session = ray.get_runtime_context().get_job_id()
    there = [path for path in reads if path.exists()]
    contents = ray.put({path: _content(session, path, _stamp(path)) for path in there})

    def begin(item: A) -> Any:
        state = luggage.state(keeps(item))
        return call.remote(_versions(), [contents], function, item, keeps(item), state)

    outcomes: dict[int, Outcome[B]] = {}
    turn = 0
    with closing(_ended(ray, begin, items, most)) as ended:
        for number, item, outcome in ended:
            if outcome.error is None:
                luggage.restore(keeps(item), outcome.state)
            outcomes[number] = outcome
            while turn in outcomes:
                yield outcomes.pop(turn).result()
                turn += 1


@dataclass(frozen=True)
class Outcome(Generic[B]):
    """What a job came to: a value and its state, or an error."""

    value: B | None = None
    state: State = field(default_factory=dict)
    error: Exception | None = None

    def result(self) -> B:
        """The value; raises the error."""
        if self.error is not None:
            raise self.error from None
        return cast("B", self.value)


def _ended(
    ray: Any, begin: Callable[[A], Any], items: Iterable[A], most: int | None
) -> Generator[tuple[int, A, Outcome[Any]], None, None]:
    """Yields the number, item and outcome of each job as it ends; after an error none is begun."""
    todo, failed = enumerate(items), False
    running: dict[Any, tuple[int, A]] = {}
    try:
        while True:
            for number, item in islice(todo, 0 if failed else most and most - len(running)):
                running[begin(item)] = number, item
            if not running:
                return
            (job, *_), _ = ray.wait(list(running))
            outcome = _outcome(ray, job)
            failed = failed or outcome.error is not None
            yield *running.pop(job), outcome
    finally:
        for job in running:
            ray.cancel(job, force=True)  # nobody wants it


def _outcome(ray: Any, job: Any) -> Outcome[Any]:
    try:
        value, state = ray.get(job)
    except ray.exceptions.RayTaskError as error:
        return Outcome(error=error.cause)  # as the worker raised it
    except ray.exceptions.RayError as error:
        return Outcome(error=UserError(f"the cluster gave up a job: {_first_line(error)}"))
    return Outcome(value, state)


def _work(
    versions: dict[str, str],
    contents: list[Any],
    function: Callable[[A], B],
    item: A,
    kept: Path,
    state: State,
) -> tuple[B, State]:
    """Calls the function in a folder of this worker; in a list, Ray brings contents if asked to."""
    import ray

    _refuse_others(versions)
    os.chdir(luggage.desk(ray.get(contents[0]), ray.get))
    luggage.restore(kept, state)
    try:
        return function(item), luggage.state(kept)
    finally:
        luggage.restore(kept, {})


def _refuse_others(versions: Mapping[str, str]) -> None:
    others = _versions()
    if wrong := [name for name in versions if others.get(name) != versions[name]]:
        name = wrong[0]
        raise UserError(
            f"node {os.uname().nodename} has {name} {others.get(name, 'not installed')}, and here "
            f"is {versions[name]}, which gives other bits: install the same version there"
        )


@cache
def _versions() -> dict[str, str]:
    """Of the packages that decide; a build for CUDA is the same version as one for the CPU."""
    found = {}
    for name in DECISIVE:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
    return found


def _stamp(path: Path) -> Stamp:
    """Differs where the content does, as far as sizes and times tell."""
    stats = [(str(file), file.stat()) for file in luggage.files(path.resolve())]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


@cache
def _content(session: str, path: Path, stamp: Stamp) -> Content:  # noqa: ARG001  what it is of
    """Handed to the cluster once, for all calls; freed when this process ends."""
    return luggage.packed(path, _joined().put)


def _gpus(ray: Any) -> float:
    """The share of a GPU that a job takes, of IMAGETRAIL_GPUS; says so if there is none yet."""
    share = os.environ.get("IMAGETRAIL_GPUS") or "0"
    try:
        gpus = float(share)
    except ValueError:
        gpus = -1.0
    if not 0 <= gpus <= 1:
        raise UserError(f"IMAGETRAIL_GPUS is {share!r}; it must be a share of a GPU, from 0 to 1")
    if gpus and not ray.cluster_resources().get("GPU"):
        say("no node of the cluster has a GPU: jobs wait until one comes")
    return gpus


def _joined() -> Any:
    """Ray, joined to the cluster that RAY_ADDRESS names, or to a new one on this machine."""
    try:
        import ray
    except ImportError:
        raise UserError(
            "IMAGETRAIL_BACKEND=ray needs the extra of that name: pip install 'imagetrail[ray]'"
        ) from None
    if not ray.is_initialized():
        settings = {name: os.environ[name] for name in SETTINGS if name in os.environ}
        # the first failure is raised; Ray would print the others, each with its traceback
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
        try:
            ray.init(
                # not what Ray itself would take: the last cluster that was started here, by anyone
                os.environ.get("RAY_ADDRESS") or "local",
                runtime_env={
                    "env_vars": ONE_THREAD | settings,
                    "py_modules": [str(CODE)],
                    "excludes": ["__pycache__"],
                },
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"RAY_ADDRESS: the cluster cannot be joined: {_first_line(error)}"
            ) from None
    return ray


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
