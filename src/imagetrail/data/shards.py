"""Rows of bytes by key in append-only shards: what is torn or damaged counts as absent.

A shard is `<name>.rows` and `<name>.index`, of fixed-size entries. A row is written before its
entry, and each process writes shards of its own, so that neither a kill nor a second process harms
what is there; the checksum of an entry is of key and row. Of rows with one key the newest counts.
"""

import errno
import fcntl
import os
import time
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMIT = 256 << 20  # bytes of a shard's rows
KEY = 16  # bytes
STORED = [("key", f"V{KEY}"), ("checksum", "V8"), ("start", "<u4"), ("size", "<u4")]
ENTRY = np.dtype([*STORED, ("shard", "<u4"), ("used", "?")])  # as in memory
MERGED = 1 << 16  # new entries that wait to be sorted among the others

Entries = NDArray[np.void]


class Shards:
    """The rows in a folder; safe for threads."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError if the folder cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.lock = folder, Lock()
        self.held = (folder / "lock").open("a")  # for as long as this is in use
        fcntl.flock(self.held, fcntl.LOCK_SH)  # so long nobody else tidies
        self.names = sorted(path.stem for path in folder.glob("*.index"))
        found = [_entries(folder / name, number) for number, name in enumerate(self.names)]
        self.entries = np.concatenate([np.empty(0, ENTRY), *found])
        self.new: dict[bytes, int] = {}  # positions in the next
        self.waiting = np.zeros(MERGED, ENTRY)
        self.files: tuple[FileIO, FileIO] | None = None  # index and rows of the shard that grows
        self.end = 0  # of its rows
        self._sort()

    # ---- rows ----

    def get(self, key: bytes) -> bytes | None:
        """The row with that key, which `tidy` then keeps."""
        with self.lock:
            entry = self._find(key)
            if entry is None:
                return None
            entry["used"] = True
            place = self._rows(entry["shard"])
            entry = entry.copy()  # its slot may be taken by another key at any time
        return _row(place, entry)

    def add(self, key: bytes, row: bytes) -> None:
        """Raises OSError if it cannot be written; such a row is not there."""
        with self.lock:
            if self.files is None or self.end + len(row) > LIMIT:
                self._begin_shard()
            assert self.files
            entry = np.array((key, _checksum(key, row), self.end, len(row)), STORED)
            index, rows = self.files
            _write(rows, row)
            self.end += len(row)
            _write(index, entry.tobytes())
            slot = self.new.setdefault(key, len(self.new))  # threads may add equal keys
            self.waiting[slot] = (*entry.item(), len(self.names) - 1, True)
            if len(self.new) == MERGED:
                self._sort()

    def _find(self, key: bytes) -> Any:
        if key in self.new:
            return self.waiting[self.new[key]]
        at = int(np.searchsorted(self.heads, np.frombuffer(key, "<u8", 1)[0], side="right")) - 1
        found = at >= 0 and self.entries["key"][at].tobytes() == key
        return self.entries[at] if found else None

    def _sort(self) -> None:
        """By the first bytes of the keys; of equal ones the newest comes last."""
        entries = np.concatenate([self.entries, self.waiting[: len(self.new)]])
        heads = _heads(entries)
        order = np.argsort(heads, kind="stable")
        self.entries, self.heads = entries[order], heads[order]
        self.new.clear()

    def _begin_shard(self) -> None:
        name = f"{time.time_ns():020}-{os.getpid()}"
        self.files = (
            (self.folder / f"{name}.index").open("xb", buffering=0),
            (self.folder / f"{name}.rows").open("xb", buffering=0),
        )
        self.names.append(name)
        self.end = 0

    # ---- what is no longer wanted ----

    def tidy(self) -> None:
        """Lets go of rows that were neither asked for nor added; no other reader must be there.

        Shards less than half full of wanted rows become one: what is kept is at most twice what is
        wanted and a shard, and a row that is wanted is seldom moved.
        """
        try:
            fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self._put_together()
        finally:  # Linux lets go of a lock before it asks for the other, even one not to be had
            fcntl.flock(self.held, fcntl.LOCK_SH)

    def _put_together(self) -> None:
        self._sort()
        self.files = None
        size = self.entries["size"] * self.entries["used"].astype(np.int64)
        wanted = np.bincount(self.entries["shard"], size, minlength=len(self.names))
        thin: list[int] = np.flatnonzero(wanted < LIMIT // 2).tolist()
        if len(thin) > 1 or (thin and wanted[thin[0]] < _size(self._rows(thin[0]))):
            self._move(self.entries[np.isin(self.entries["shard"], thin) & self.entries["used"]])
            for number in thin:
                self._rows(number).unlink(missing_ok=True)
                self._rows(number).with_suffix(".index").unlink(missing_ok=True)

    def _rows(self, shard: int) -> Path:
        return self.folder / f"{self.names[shard]}.rows"

    def _move(self, entries: Entries) -> None:
        """To new shards, in the order in which they lie."""
        for entry in np.sort(entries, order=["shard", "start"]):
            row = _row(self._rows(entry["shard"]), entry)
            if row is not None:
                self.add(entry["key"].tobytes(), row)


def _entries(shard: Path, number: int) -> Entries:
    """The entries of a shard; without a last one that is torn, and those of rows that are."""
    raw = shard.with_name(f"{shard.name}.index").read_bytes()
    stored = np.frombuffer(raw, STORED, len(raw) // np.dtype(STORED).itemsize)
    entries = np.zeros(len(stored), ENTRY)
    for name, _ in STORED:
        entries[name] = stored[name]
    entries["shard"] = number
    end = entries["start"].astype(np.int64) + entries["size"]
    whole: Entries = entries[end <= _size(shard.with_name(f"{shard.name}.rows"))]
    return whole


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _heads(entries: Entries) -> NDArray[np.uint64]:
    """The first 8 bytes of each key, as a number."""
    keys = np.ascontiguousarray(entries["key"]).view("<u8")
    return np.ascontiguousarray(keys.reshape(-1, KEY // 8)[:, 0])


def _checksum(key: bytes, row: bytes) -> bytes:
    return blake2b(row, digest_size=8, key=key).digest()


def _row(path: Path, entry: Any) -> bytes | None:
    """What the entry says is in the file; None if that is not so."""
    try:
        with path.open("rb", buffering=0) as file:
            row = os.pread(file.fileno(), int(entry["size"]), int(entry["start"]))
    except OSError:  # another process has tidied, or the disk is failing
        return None
    return row if _checksum(entry["key"].tobytes(), row) == entry["checksum"].tobytes() else None


def _write(file: FileIO, content: bytes) -> None:
    """A part is written where the disk has become full."""
    if file.write(content) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
