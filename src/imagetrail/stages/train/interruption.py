"""A stop that waits for a good moment: between two steps, when state can be saved."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds: the kernel reports a parent's death once for each of its threads, and that is one signal.
BURST = 1.0


class Interruption:
    """Whether one of the signals has come; a second one acts at once."""

    number: int | None = None


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Within the block SIGINT and SIGTERM are only noted; at its end one that came acts.

    One that is ignored, as nohup sets it, stays ignored.
    """
    interruption = Interruption()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    first = 0.0

    def note(number: int, _: FrameType | None) -> None:
        nonlocal first
        if interruption.number is None:
            interruption.number, first = number, time.monotonic()
        elif time.monotonic() - first > BURST:
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        restore()
    if interruption.number is not None:
        signal.raise_signal(interruption.number)
