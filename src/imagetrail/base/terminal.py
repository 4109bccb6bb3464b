"""What people see of the work: lines of text, and a bar while they wait.

All text goes through `say`, so that no name of a class or a file can steer a terminal.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from imagetrail.base.words import printable, without_secrets

T = TypeVar("T")


def say(*lines: str, error: bool = False) -> None:
    """Prints each text as a line, no secret in it, and nothing that a terminal would obey.

    At once, so that who reads along in a pipe or a log sees what is done.
    """
    if lines:
        stream = sys.stderr if error else sys.stdout
        shown = (printable(without_secrets(line)) for line in lines)
        print(*shown, sep="\n", file=stream, flush=True)


def hand_over(line: str) -> None:
    """Prints a line for another program as it is; on a terminal as `say` does."""
    print(printable(line) if sys.stdout.isatty() else line)


class Bar:
    """How far some work is: what `progress` draws, where it has a terminal to draw on."""

    def __init__(self, total: float, unit: str, done: float) -> None:
        self.total, self.unit, self.done, self.note = total, unit, done, ""
        self._first, self._began = done, time.monotonic()

    def to(self, done: float, note: str = "") -> None:
        """`done` of the total are done; note: what there is to know of it so far."""
        self.done, self.note = done, note

    def __str__(self) -> str:
        facts = [f"{self.done:,.0f}/{self.total:,.0f}", *self._pace(), printable(self.note)]
        return "  ".join(filter(None, facts))

    def _pace(self) -> Iterator[str]:
        rate = (self.done - self._first) / max(time.monotonic() - self._began, 1e-9)
        if rate:
            a_minute = rate < 10
            yield f"{60 * rate:.1f} {self.unit}/min" if a_minute else f"{rate:,.0f} {self.unit}/s"
            yield f"{clock((self.total - self.done) / rate)} left"


@contextmanager
def progress(what: str, total: float, unit: str, *, done: float = 0) -> Iterator[Bar]:
    """A bar on a terminal for as long as the work goes on; elsewhere nothing.

    Lines that are said meanwhile stand above it. done: of the total, before this began.
    """
    bar = Bar(total, unit, done)
    if not sys.stderr.isatty():
        yield bar
        return
    from rich.console import Console  # rich takes long to load, and only a bar needs it
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def drawn() -> Table:
        row = Table.grid(padding=(0, 1))
        row.add_row(Text(what), ProgressBar(total, bar.done, width=24), Text(str(bar)))
        return row

    on_one_terminal = sys.stdout.isatty()  # else lines go where they were sent
    console = Console(stderr=True)
    with Live(
        get_renderable=drawn, console=console, transient=True, redirect_stdout=on_one_terminal
    ):
        yield bar


def track(items: Iterable[T], total: float, what: str, unit: str) -> Iterator[T]:
    """The items; a bar tells how many of them are dealt with."""
    with progress(what, total, unit) as bar:
        for number, item in enumerate(items, 1):
            yield item
            bar.to(number)


def clock(seconds: float) -> str:
    """0:42, 12:05, 3:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
