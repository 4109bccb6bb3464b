"""An end to waiting: a server that sends a byte a second is never late for MLflow."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

UPLOADS = ("log_artifact", "log_artifacts")
UPLOAD = 20  # times as long as any other call may take


class Late(BaseException):
    """Not an Exception, as libraries catch these and try again."""

    def __str__(self) -> str:
        return f"no whole answer within {self.args[0]:g} s"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises Late in the block once it has taken so long. In a process's first thread only."""

    def late(*_: Any) -> None:
        raise Late(seconds)

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limit() -> float:
    """Seconds that a call may take as a whole, as MLflow has for a part of an answer."""
    return float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"))


class Bounded:
    """A client of MLflow of whose calls each ends within the limit."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._client, name)
        seconds = limit() * (UPLOAD if name in UPLOADS else 1)

        def bounded(*args: Any, **options: Any) -> Any:
            with within(seconds):
                return call(*args, **options)

        return bounded
