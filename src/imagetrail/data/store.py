"""Decoded pictures, kept by their content: each is decoded once, whoever asks for it.

They lie outside the pipeline's outs, in .imagetrail/decoded/<digest of target and decoder>/, and
what is read is the same with or without them. Where a file is, and its size, times and inode, stand
for its content, so that one that has not changed is not read again.
"""

import fcntl
import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from imagetrail.base import hashing
from imagetrail.base.files import remove
from imagetrail.base.terminal import say
from imagetrail.data import colour, decoding, formats, limits
from imagetrail.data.decoding import Facts, Target, Unreadable
from imagetrail.data.pictures import Examined, Pictures
from imagetrail.data.shards import KEY, Shards

FOLDER = Path(".imagetrail/decoded")
DECODER = (colour, decoding, formats, limits)  # the modules of ours that decode
PACKAGES = ("pillow", "pi-heif")  # and the packages; the second may be missing
SETTLED = 2.0  # seconds without a change after which a file's times tell whether it changes


def kept(pictures: Pictures, target: Target) -> Pictures:
    """The same pictures; those of `target` are decoded once, and `tidy` lets go of others.

    Those whose pixels are at hand are not kept.
    """
    if pictures.content is None:
        return pictures
    try:
        store = _Store(pictures, pictures.content, target)
    except OSError as error:
        say(_without(FOLDER / _name(target), error))
        return pictures
    return replace(pictures, read=store.read, tidy=store.tidy, content=None)


def _name(target: Target) -> str:
    """Equal for what is decoded to the same bytes."""
    code = [hashing.sha256(Path(module.__file__ or "")) for module in DECODER]
    facts = [asdict(target), code, [_version(package) for package in PACKAGES]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _without(folder: Path, error: OSError) -> str:
    return f"{folder}: {error.strerror}; pictures are decoded without being kept"


class _Store:
    """Pictures read by way of shards."""

    def __init__(
        self, pictures: Pictures, content: Callable[[int], Path | bytes], target: Target
    ) -> None:
        self.pictures, self.content, self.target = pictures, content, target
        self.shards = Shards(FOLDER / _name(target))
        self.writes = True

    def read(self, i: int, target: Target) -> Examined:
        content = self.content(i)
        stamp = _stamp(content) if isinstance(content, Path) else b""
        if target != self.target or stamp is None:
            return self.pictures.read(i, target)
        key = self._key(content, stamp)
        if key is None:
            return self.pictures.read(i, target)
        row = self.shards.get(key)
        if row is not None:
            return _unpacked(row, target)
        try:
            row = _packed(self.pictures.read(i, target))
        except Unreadable as reason:
            if _machine_is_to_blame(reason):
                raise
            row = _packed(reason)
        if isinstance(content, bytes) or _stamp(content) == stamp:  # else it is of other content
            self._keep(key, row)
        return _unpacked(row, target)

    def _key(self, content: Path | bytes, stamp: bytes) -> bytes | None:
        """A hash of the content; of a file known by its stamp, the one that was kept."""
        if isinstance(content, bytes):
            return blake2b(content, digest_size=KEY).digest()
        if known := self.shards.get(stamp):
            return known
        try:
            with content.open("rb") as file:
                key = hashlib.file_digest(file, lambda: blake2b(digest_size=KEY)).digest()
        except OSError:
            return None
        if _stamp(content) == stamp:
            self._keep(stamp, key)
        return key

    def _keep(self, key: bytes, row: bytes) -> None:
        if not self.writes:
            return
        try:
            self.shards.add(key, row)
        except OSError as error:
            if self.writes:  # else another thread has said so
                self.writes = False
                say(_without(self.shards.folder, error))

    def tidy(self) -> None:
        """Call it after all pictures have been read: of others nothing stays."""
        try:
            for folder in FOLDER.iterdir():
                if folder != self.shards.folder and folder.is_dir():
                    _remove_unused(folder)
            self.shards.tidy()
        except OSError as error:
            say(f"{FOLDER}: {error.strerror}; it was not tidied")


def _remove_unused(folder: Path) -> None:
    """Unless another process reads it."""
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        remove(folder)


def _stamp(path: Path) -> bytes | None:
    """A hash of where the file is, of its size, times and inode; None if it has just changed.

    The time of its last change of any kind (ctime) is among them, which no program sets.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    if time.time() - found.st_ctime < SETTLED:  # a further change might show in no time
        return None
    facts = found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, os.fspath(path)
    return blake2b(repr(facts).encode(), digest_size=KEY).digest()


def _machine_is_to_blame(reason: Unreadable) -> bool:
    """Whether the same content may be readable another time."""
    error = reason.__context__
    return isinstance(error, MemoryError) or bool(isinstance(error, OSError) and error.errno)


def _packed(found: Examined | Unreadable) -> bytes:
    """A line of facts, then the pixels; or the reason why there are none."""
    if isinstance(found, Unreadable):
        return json.dumps(str(found)).encode()
    image, facts = found
    return json.dumps(asdict(facts)).encode() + b"\n" + image.tobytes()


def _unpacked(row: bytes, target: Target) -> Examined:
    """Raises Unreadable where that was kept."""
    start = len(row) - math.prod(target.shape)
    if row[start - 1 : start] != b"\n":
        raise Unreadable(json.loads(row))
    image = np.frombuffer(row, np.uint8, offset=start).reshape(target.shape)
    return image, Facts(**json.loads(row[:start]))
