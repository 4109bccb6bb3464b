"""Small pictures of a user's, each with pixels of its own."""

import zlib
from collections.abc import Iterable
from pathlib import Path

from PIL import Image


def photo(path: Path) -> Path:
    """A picture whose colour is that of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = tuple(zlib.crc32(str(path.name).encode()).to_bytes(4)[:3])
    Image.new("RGB", (9, 9), colour).save(path, "PNG")
    return path


def photos(top: Path, names: Iterable[str]) -> Path:
    for name in names:
        photo(top / name)
    return top


ANIMALS = ("cats/1.png", "cats/2.JPG", "dogs/more/1.jpeg")


def animals(top: Path) -> Path:
    """Two classes: two cats and a dog."""
    return photos(top, ANIMALS)
