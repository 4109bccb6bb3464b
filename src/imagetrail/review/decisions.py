"""What people decide, written to data/corrections.csv at once, whoever else writes there."""

import fcntl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagetrail.data import corrections
from imagetrail.data.corrections import Correction

Place = tuple[str, int]  # queue and position of what is decided about
Before = dict[str, Correction | None]  # by source; null: there was no row


class Decisions:
    """The corrections in a file, which other pages and editors may change at any time.

    It is read anew before each write, under a lock that all reviews of this folder share; rows
    that are not written to stay as they are, in their order.
    """

    def __init__(self, path: Path, *, lock: Path) -> None:
        self._path, self._lock = path, lock
        self._stamp: tuple[int, int] | None = None  # of the file, when it was last read
        self._rows: dict[str, Correction] = {}
        self._undo: list[tuple[Place, Before]] = []
        self._mutex = threading.Lock()  # of the four above

    def current(self) -> Mapping[str, Correction]:
        """The correction of each source that has one; raises UserError for a file that is wrong."""
        with self._mutex:
            return self._read()

    def put(self, made: Sequence[Correction], place: Place) -> None:
        """Writes a row for each, instead of the one that its source may have."""
        with self._mutex, self._locked():
            rows = dict(self._read())
            before = {one.source: rows.get(one.source) for one in made}
            self._write(rows | {one.source: one for one in made})
            self._undo.append((place, before))

    def undo(self) -> Place | None:
        """Takes the last `put` of this review back; returns its place, None if there was none."""
        with self._mutex, self._locked():
            if not self._undo:
                return None
            rows, (place, before) = dict(self._read()), self._undo[-1]
            for source, row in before.items():
                if row is None:
                    rows.pop(source, None)
                else:
                    rows[source] = row
            self._write(rows)
            self._undo.pop()
            return place

    def _read(self) -> Mapping[str, Correction]:
        stamp = self._stamp_now()
        if stamp is None or stamp != self._stamp:
            self._rows = {row.source: row for row in corrections.read(self._path)}
            self._stamp = stamp
        return self._rows

    def _write(self, rows: dict[str, Correction]) -> None:
        corrections.write(self._path, list(rows.values()))
        self._rows, self._stamp = rows, self._stamp_now()

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # a kill frees it
            yield
