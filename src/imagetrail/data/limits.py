"""What decoding may take, and how it fails."""

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

MAX_PIXELS = 100_000_000  # a larger picture is refused: decoding it could take gigabytes
MAX_BYTES = 1 << 29  # of a file
SAID = (OSError, SyntaxError, ValueError, EOFError, zlib.error)  # what Pillow says has a meaning
DAMAGE = (  # all that Pillow was seen to raise for damaged files
    *SAID,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
)


class Room:
    """So many pixels may be decoded at a time, by however many threads: the others wait."""

    def __init__(self, pixels: int) -> None:
        self.free, self.changed = pixels, threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: self.free >= pixels)
            self.free -= pixels
        try:
            yield
        finally:
            with self.changed:
                self.free += pixels
                self.changed.notify_all()


ROOM = Room(MAX_PIXELS)


def reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    if isinstance(error, MemoryError):
        return "there is not the memory that it asks for"
    said = " ".join(str(error).split())[:100] if isinstance(error, SAID) else ""
    return f"damaged ({said or 'what it says of itself makes no sense'})"
