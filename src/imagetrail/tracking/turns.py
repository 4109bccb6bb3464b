"""One publish at a time on a store, whichever machine it is on.

Nothing in MLflow is made only if it is not there yet: two that search and then create make doubles.
But what is written is seen by whoever reads afterwards. So each writes a tag of its own at the
experiment and then looks for others': of two, at least one sees the other, and steps back.
"""

import os
import random
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from imagetrail.tracking.store import Store

TURN = "imagetrail.publishing."
STALE = 600.0  # seconds after which one on another machine is taken for dead
PAUSE = 0.5  # seconds between looks, on average


@contextmanager
def turn(store: Store) -> Iterator[None]:
    """Waits for any other publish to this experiment."""
    mine = f"{TURN}{uuid.uuid4().hex[:8]}"
    waited = _Waited()
    while not _take(store, mine, waited):
        time.sleep(PAUSE * random.uniform(0.5, 1.5))  # two that have met part
    try:
        yield
    finally:
        _remove(store, mine)


class _Waited:
    """Since when each of the others has been there, by this machine's clock."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}

    def is_stale(self, tag: str) -> bool:
        return time.monotonic() - self.since.setdefault(tag, time.monotonic()) > STALE


def _take(store: Store, mine: str, waited: _Waited) -> bool:
    if _others(store, mine, waited):
        return False
    store.client.set_experiment_tag(store.experiment, mine, f"{socket.gethostname()} {process()}")
    if not _others(store, mine, waited):
        return True
    _remove(store, mine)
    return False


def _others(store: Store, mine: str, waited: _Waited) -> bool:
    """Whether others publish; the tags of those that are dead are removed."""
    tags = store.client.get_experiment(store.experiment).tags
    others = {tag: who for tag, who in tags.items() if tag.startswith(TURN) and tag != mine}
    for tag, who in list(others.items()):
        host, _, of = who.partition(" ")
        if waited.is_stale(tag) or (host == socket.gethostname() and not is_alive(of)):
            _remove(store, tag)
            del others[tag]
    return bool(others)


def _remove(store: Store, tag: str) -> None:
    store.client.delete_experiment_tag(store.experiment, tag)


def process() -> str:
    """Number of the present process, and when it began in seconds since 1970."""
    return f"{os.getpid()} {psutil.Process().create_time():.0f}"


def is_alive(process: str) -> bool:
    """Whether that process is still there, and not another that has got its number."""
    number, began = map(int, process.split())
    try:
        found = psutil.Process(number)
        return bool(abs(found.create_time() - began) < 2 and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
