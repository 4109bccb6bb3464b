"""Which of several processes of a machine does what, so that none does what another is doing."""

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO


class Claims:
    """Keys of bytes, each had by one process at a time; a process that ends has none.

    A key is a byte of a file that is locked, so two keys of 2⁶² may be taken for the same. Where
    files cannot be locked, whoever asks has all: what is done twice costs time alone.
    """

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError:
            return

    @contextmanager
    def some(self, keys: Iterable[bytes], most: int) -> Iterator[list[bytes]]:
        """Of the keys at most so many that nobody has; of such as others have, waits for one."""
        wanted = list(keys)
        mine = list(islice((key for key in wanted if self._take(key, fcntl.LOCK_NB)), most))
        if not mine and wanted and self._take(wanted[0]):
            mine = wanted[:1]
        try:
            yield mine
        finally:
            for key in mine:
                self._lock(key, fcntl.LOCK_UN)

    def _take(self, key: bytes, how: int = 0) -> bool:
        try:
            self._lock(key, fcntl.LOCK_EX | how)
        except BlockingIOError:
            return False
        return True

    def _lock(self, key: bytes, how: int) -> None:
        if self._file is None:
            return
        try:
            fcntl.lockf(self._file, how, 1, int.from_bytes(key[:8], "big") >> 2)
        except (BlockingIOError, PermissionError):
            raise BlockingIOError from None
        except OSError:  # this file system has no locks
            self._file = None
