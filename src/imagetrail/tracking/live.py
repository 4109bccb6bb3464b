"""MLflow, live: what stages log while they run.

A thread of its own talks to the server, so that no training waits for one that is slow, hung or
down: what fails costs one warning and no result, and `publish` catches up. Live runs stand below a
pipeline run that is `pending` until `publish` finds out which version it became. Their tags name
the process, so that runs of one that was killed are found.
"""

import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any

from imagetrail.base import pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.terminal import say
from imagetrail.tracking import turns
from imagetrail.tracking.opening import open_store
from imagetrail.tracking.parts import Part
from imagetrail.tracking.store import (
    CONTENT,
    PARENT,
    STAGE,
    UNREACHABLE,
    VERSION,
    Gauge,
    Store,
)

ROOT, PROCESS = "imagetrail.root", "imagetrail.process"
PENDING = "pending"  # the version of a pipeline run that is still being made
PATIENCE = 3  # seconds that a server has for an answer; after one that fails, no other is asked for
FLUSH = 10.0  # seconds that a stage's end waits at most for what is still to be written
WAITING = 1000  # things to be written at most; a server that falls behind further misses some

Task = Callable[[Store, str], None]


class Live:
    """A run that is being written. If the server fails, it warns once and sends nothing more."""

    def __init__(self, stage: str, params: Mapping[str, Any], root: Path = Path()) -> None:
        self._stage, self._root = stage, root
        self._todo: Queue[Task | None] = Queue(WAITING)
        self._warned = False
        self._thread = Thread(target=self._write, args=(params, time.time()), daemon=True)
        self._thread.start()

    def epoch(self, row: Mapping[str, float]) -> None:
        """A row of history.csv."""
        when = time.time()
        self._put(lambda store, run: store.log_history(run, [row], when=when))

    def part(self, part: Part, times: tuple[float, float] | None = None) -> None:
        """Writes a whole child run that began and ended then, in seconds since 1970; None: now."""
        started, ended = times or (None, None)
        self._put(lambda store, run: store.write(run, replace(part, started=started, ended=ended)))

    def end(self, status: str) -> None:
        """Ends the run: FINISHED, FAILED or KILLED."""
        self._put(lambda store, run: self._end(store, run, status))
        self._put(None)
        self._thread.join(FLUSH)
        if self._thread.is_alive():
            self._warn(f"it did not take everything within {FLUSH:g} s")

    def _put(self, task: Task | None) -> None:
        with suppress(Full):
            self._todo.put_nowait(task)

    def _write(self, params: Mapping[str, Any], started: float) -> None:
        """What the thread does: makes the run, then does its tasks and reads the gauges."""
        try:
            store = open_store(self._root, patience=PATIENCE, retries=0)
            parent = _pending(store, self._root)
            tags = {PARENT: parent, STAGE: self._stage}
            tags |= {ROOT: workspace_id(self._root), PROCESS: turns.process()}
            run = store.create(self._stage, tags, started=started)
            store.log_params(run, _settled(params))
            for task in self._tasks():
                task(store, run)
        except (*UNREACHABLE, UserError) as error:
            self._warn(str(error).splitlines()[0][:200])

    def _tasks(self) -> Iterator[Task]:
        gauge, samples = Gauge(), 0
        due = time.monotonic() + gauge.interval
        while True:
            try:
                task = self._todo.get(timeout=max(0.0, due - time.monotonic()))
                if task is None:
                    return
                yield task
            except Empty:
                yield partial(_log_gauges, gauge.read(), samples)
                due, samples = time.monotonic() + gauge.interval, samples + 1

    def _end(self, store: Store, run: str, status: str) -> None:
        if status == "FINISHED":
            store.client.set_tag(run, CONTENT, _content_on_disk(self._stage, self._root))
        store.end(run, status)
        if status != "FINISHED":  # and with it the pipeline, until its next stage begins
            store.end(store.client.get_run(run).data.tags[PARENT], status)

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            going_on = "going on without it, `imagetrail publish` catches up"
            warning = f"warning: MLflow cannot be reached; {going_on} ({reason})"
            say(warning, error=True)


@contextmanager
def running(stage: str, params: Mapping[str, Any], root: Path = Path()) -> Iterator[Live]:
    """A run for `stage` that ends FINISHED, FAILED or KILLED as the block does."""
    log, status = Live(stage, params, root), "FAILED"
    try:
        yield log
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        log.end(status)


def sweep(store: Store, root: Path) -> set[str]:
    """Ends the runs of this working copy whose process is gone.

    Returns the pipeline runs that a process is still alive for.
    """
    running = store.find({ROOT: workspace_id(root)}, status="RUNNING")
    begun = [run for run in running if PROCESS in run.data.tags]
    gone = [run for run in begun if not turns.is_alive(run.data.tags[PROCESS])]
    busy = {run.data.tags[PARENT] for run in begun if run not in gone}
    for run in gone:
        half_written = store.find({PARENT: run.info.run_id}, status="RUNNING")
        for each in (*half_written, run):
            store.end(each.info.run_id, "KILLED")
    for parent in {run.data.tags[PARENT] for run in gone} - busy:
        if store.client.get_run(parent).info.status == "RUNNING":
            store.end(parent, "KILLED")
    return busy


def pending(store: Store, root: Path) -> list[str]:
    """The pipeline runs of this working copy that are still being made, oldest first."""
    found = store.find({VERSION: PENDING, ROOT: workspace_id(root)})
    return [str(run.info.run_id) for run in found]


def workspace_id(root: Path) -> str:
    """Tells this working copy from others that use the same server."""
    return hashlib.sha256(f"{socket.gethostname()}:{root.resolve()}".encode()).hexdigest()[:16]


def content_key(results: Mapping[str, str]) -> str:
    """The identity of a stage's run: a hash of its outs' hashes."""
    return hashlib.sha256(json.dumps(dict(results), sort_keys=True).encode()).hexdigest()[:16]


def _pending(store: Store, root: Path) -> str:
    """The pipeline run for a stage that begins: what other stages have begun, else a new one."""
    found = pending(store, root)
    if not found:
        tags = {VERSION: PENDING, ROOT: workspace_id(root)}
        return store.create("pipeline · unpublished", tags)
    store.client.update_run(found[-1], status="RUNNING")  # it may have failed before
    return found[-1]


def _settled(params: Mapping[str, Any]) -> dict[str, Any]:
    """Without nulls: there a stage chooses by itself, and `publish` reads what in its files."""
    return {name: value for name, value in params.items() if value is not None}


def _log_gauges(values: Mapping[str, float], step: int, store: Store, run: str) -> None:
    store.log_metrics(run, values, step=step)


def _content_on_disk(stage: str, root: Path) -> str:
    outs = [
        out for out in pipeline.stages(root)[stage].outs if not out.endswith(pipeline.OBSERVATIONS)
    ]
    return content_key({out: hashlib.md5((root / out).read_bytes()).hexdigest() for out in outs})
