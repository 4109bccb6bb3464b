"""A stop that waits for a good moment: between two steps, when state can be saved."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether one of the signals has come; a second one acts at once."""

    number: int | None = None


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Within the block SIGINT and SIGTERM are only noted; at its end, one that came acts as it would have."""
    interruption = Interruption()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _: FrameType | None) -> None:
        interruption.number = number
        restore()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        restore()
    if interruption.number is not None:
        signal.raise_signal(interruption.number)
