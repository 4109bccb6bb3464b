"""Features of pictures by a trunk that stays as it is: each is computed once, and kept by content.

The engine is torch with the machine's own precision: in bfloat16, EfficientNet-Lite0 makes a tenth
more features a second than in ONNX Runtime, which has float32 only.
"""

import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from imagetrail.base.files import remove
from imagetrail.base.terminal import say
from imagetrail.compute.claims import Claims
from imagetrail.compute.device import this_machine
from imagetrail.models.classifier import Classifier
from imagetrail.models.folded import folded
from imagetrail.training.checkpoints import STATE

T = TypeVar("T")
FOLDER = "features"  # beside the states of the stages
BATCH = 32  # pictures at a time, always: among more or fewer, the same one would get other bits
LIMIT = 4 << 30  # bytes of a store; what does not fit is computed anew
KEPT = 3  # stores, those last used
PATIENCE = 60  # seconds to wait while other processes write
TABLE = (
    "CREATE TABLE IF NOT EXISTS features "
    "(picture BLOB PRIMARY KEY, features BLOB NOT NULL, crc INTEGER NOT NULL)"
)
QUERY = "SELECT features, crc FROM features WHERE picture = ?"


class Extractor:
    """What the trunk of a model sees in pictures: n×H×W×C, uint8 or float32, to n×D float16.

    Several processes that want the same features share the work.
    """

    def __init__(self, model: Classifier) -> None:
        self.model, self.machine = model, this_machine()
        self.trunk = folded(model.trunk)
        self.store = Store(STATE / FOLDER / f"{self._name()}.db")
        self.claims = Claims(self.store.path.with_suffix(".claims"))

    def __call__(self, pictures: Tensor) -> Tensor:
        keys = [_key(picture) for picture in pictures.numpy()]
        known = self.store.get(set(keys))
        # of equal pictures one, in their order
        lacking = {key: place for place, key in enumerate(keys) if key not in known}
        while lacking:
            with self.claims.some(lacking, BATCH) as mine:
                known |= (found := self.store.get(lacking))  # others have made them since
                todo = [key for key in mine if key not in found]
                if todo:
                    computed = self._compute(pictures[[lacking[key] for key in todo]])
                    new = {key: row.tobytes() for key, row in zip(todo, computed, strict=True)}
                    self.store.put(new)
                    known |= new
            lacking = {key: place for key, place in lacking.items() if key not in known}
        rows = np.frombuffer(b"".join(known[key] for key in keys), np.float16)
        return torch.from_numpy(rows.reshape(len(keys), -1).copy())

    @torch.no_grad()
    def _compute(self, pictures: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
        whole = pictures[torch.arange(BATCH) % len(pictures)].to(self.machine.device)
        with self.machine.autocast():
            features: Tensor = self.trunk(self.model.normal(whole))[: len(pictures)]
        return features.float().clamp(-65504, 65504).half().cpu().numpy()

    def _name(self) -> str:
        """Changes with the weights, and with all else that changes features: code, precision."""
        content = hashlib.blake2b(digest_size=8)
        for tensor in self.model.trunk.state_dict().values():
            content.update(tensor.cpu().contiguous().numpy().tobytes())
        noise = np.random.default_rng(0).integers(0, 256, (2, *self.model.spec.shape), np.uint8)
        content.update(self._compute(torch.from_numpy(noise)).tobytes())
        return content.hexdigest()


def _key(picture: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    content = hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16)
    content.update(picture.dtype.str.encode())
    return content.digest()


class Store:
    """Rows of bytes by key, in an SQLite file that any number of processes may fill at once.

    It spares work and decides nothing: without it, as on a full disk, all is computed anew. A
    damaged file is made anew, and a damaged row is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: sqlite3.Connection | None = None
        self._full = False
        self._try(self._open)

    def get(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The rows that are there."""
        return self._try(lambda: dict(self._read(keys))) or {}

    def put(self, rows: dict[bytes, bytes]) -> None:
        self._try(lambda: self._write(rows))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = NORMAL")
        self._file.execute(TABLE)
        self.path.touch()  # it is in use
        _tidy(self.path.parent)

    def _read(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        if self._file is None:
            return
        for key in keys:
            for row, crc in self._file.execute(QUERY, (key,)):
                if zlib.crc32(row) == crc:
                    yield key, row

    def _write(self, rows: dict[bytes, bytes]) -> None:
        if self._file is None or self._full:
            return
        self._full = self.path.stat().st_size > LIMIT
        values = [(key, row, zlib.crc32(row)) for key, row in rows.items()]
        self._file.execute("BEGIN IMMEDIATE")
        self._file.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", values)
        self._file.execute("COMMIT")

    def _try(self, work: Callable[[], T]) -> T | None:
        """What the work gives, or None where the file does not let it."""
        try:
            return work()
        except (sqlite3.OperationalError, OSError) as error:  # the disk is full, the folder closed
            self._give_up(error)
        except sqlite3.DatabaseError as error:
            say(f"{self.path} is damaged ({error}); it is made anew")
            self._renew()
        return None

    def _renew(self) -> None:
        self.close()
        try:
            for file in self.path.parent.glob(f"{self.path.name}*"):  # and its journals
                remove(file)
            self._open()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        say(f"{self.path}: {error}; features are kept no more")
        self.close()


def _tidy(folder: Path) -> None:
    """Removes the stores that were not used for longest."""
    stores = sorted(folder.glob("*.db"), key=lambda store: store.stat().st_mtime)
    for old in stores[:-KEPT]:
        for file in folder.glob(f"{old.stem}.*"):
            remove(file)
