"""What people see of the work: lines of text, and a bar while they wait.

All text goes through `say`, so that no name of a class or a file can steer a terminal.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # rich takes long to load, and only a bar needs it
    from rich.progress import Progress

T = TypeVar("T")


def say(*texts: str, error: bool = False) -> None:
    """Prints each text with its line breaks, and nothing else that a terminal would obey.

    At once, so that who reads along in a pipe or a log sees what is done.
    """
    lines = [printable(line) for text in texts for line in text.split("\n")]
    if lines:
        print(*lines, sep="\n", file=sys.stderr if error else sys.stdout, flush=True)


def hand_over(line: str) -> None:
    """Prints a line for another program as it is; on a terminal as `say` does."""
    print(printable(line) if sys.stdout.isatty() else line)


def printable(text: str) -> str:
    r"""The text with what cannot be printed escaped: \x1b, \n, \u202e, odd bytes of a name."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class Bar:
    """How far some work is; drawn only where `progress` has a terminal to draw on."""

    def __init__(self, unit: str, done: float, drawn: "Progress | None") -> None:
        self.unit, self.done, self.drawn = unit, done, drawn
        self._first, self._began = done, time.monotonic()

    def to(self, done: float, note: str = "") -> None:
        """`done` of the total are done; note: what there is to know of it so far."""
        self.done = done
        if self.drawn:
            (task,) = self.drawn.tasks
            self.drawn.update(task.id, completed=done, rest=self._rest(task.total or 0, note))

    def _rest(self, total: float, note: str) -> str:
        rate = (self.done - self._first) / max(time.monotonic() - self._began, 1e-9)
        if not rate:
            return printable(note)
        pace = f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{60 * rate:.1f} {self.unit}/min"
        left = f"{clock((total - self.done) / rate)} left"
        return "  ".join(filter(None, (pace, left, printable(note))))


@contextmanager
def progress(what: str, total: float, unit: str, *, done: float = 0) -> Iterator[Bar]:
    """A bar on a terminal for as long as the work goes on; elsewhere nothing.

    Lines that are said meanwhile stand above it. done: of the total, before this began.
    """
    if not sys.stderr.isatty():
        yield Bar(unit, done, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn(what, markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[rest]}", markup=False),
    )
    on_one_terminal = sys.stdout.isatty()  # else lines go where they were sent
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=on_one_terminal
    ) as drawn:
        drawn.add_task("", total=total, completed=done, rest="")
        yield Bar(unit, done, drawn)


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
