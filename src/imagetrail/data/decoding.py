"""One file becomes one picture: judged by content, damage refused, size and colour by one rule."""

import io
import math
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.Image import Resampling, Transpose
from pydantic import Field

from imagetrail.data import colour, formats

Shape = tuple[int, int, int]  # H, W, C
Fit = Literal["crop", "pad", "stretch"]
Frames = Literal["refuse", "first"]
Bits = Annotated[int, Field(ge=8, le=16)]
FORMATS = formats.SUFFIXES  # what is a picture by its name
MAX_PIXELS = 100_000_000  # a larger picture is refused: decoding it could take gigabytes
MAX_BYTES = 1 << 29  # of a file
DRAFT = 1.5  # a JPEG is decoded at the least of 1/8, 1/4, 1/2 and 1 that is so much above its end
TURNS = {  # EXIF orientation: what brings the picture upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
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


@dataclass(frozen=True)
class Target:
    """What every picture is brought to."""

    shape: Shape
    fit: Fit = "crop"
    frames: Frames = "refuse"  # of a file that has several
    bits: Bits | None = None  # in use of 16-bit grey; None: what the file's brightest pixel needs


@dataclass(frozen=True)
class Facts:
    """What a file is beside its pixels."""

    format: str  # as Pillow calls it: JPEG, PNG; "" for pixels that were in no picture file
    width: int  # upright, as stored
    height: int
    mode: str
    bytes: int
    camera: str  # make and model by EXIF, "" if unknown


class Unreadable(Exception):
    """A file that is no whole picture; the text says why."""


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


def read(file: Path | BinaryIO, target: Target) -> tuple[NDArray[np.uint8], Facts]:
    """The picture in `file` as `target` says, and what the file is; raises Unreadable."""
    try:
        size = file.stat().st_size if isinstance(file, Path) else file.seek(0, io.SEEK_END)
        if size == 0:
            raise Unreadable("the file is empty")
        if size > MAX_BYTES:
            raise Unreadable(f"{size:,} bytes are more than {MAX_BYTES:,}")
        try:
            return _picture(file, size, target)
        except ValueError as error:
            if "MAX_TEXT" not in str(error):  # much text in a PNG is no damage
                raise
            return _picture(io.BytesIO(formats.without_text(_begin(file, size))), size, target)
    except UnidentifiedImageError:
        raise Unreadable(formats.refusal(_begin(file, formats.HEAD))) from None
    except DAMAGE as error:
        raise Unreadable(_reason(error)) from None


def _picture(file: Path | BinaryIO, size: int, target: Target) -> tuple[NDArray[np.uint8], Facts]:
    with Image.open(file, formats=_taken()) as image:
        _refuse(image, target)
        stored, mode = image.size, image.mode
        image.draft(None, _draft_size(stored, target))
        whole = stored if image.info.get("progressive") else image.size  # that one is held in full
        with ROOM.of(whole[0] * whole[1]):
            image.load()
            orientation, camera = _exif(image)
            plain = _plain(image, target.bits)
            upright = plain.transpose(TURNS[orientation]) if orientation in TURNS else plain
            pixels = fit(upright, target, profile=image.info.get("icc_profile"))
    width, height = stored[::-1] if orientation in SIDEWAYS else stored
    return pixels, Facts(image.format or "", width, height, mode, size, camera)


@cache
def _taken() -> tuple[str, ...]:
    """HEIF where its reader is installed, whose wheel is under the LGPL: nothing here needs it."""
    try:
        import pi_heif
    except ModuleNotFoundError:
        return formats.TAKEN
    pi_heif.register_heif_opener()
    return (*formats.TAKEN, "HEIF")


def _refuse(image: Image.Image, target: Target) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(f"{image.width}×{image.height} pixels are more than {MAX_PIXELS:,}")
    several = getattr(image, "is_animated", False) and image.format != "MPO"  # a JPEG with previews
    if several and target.frames == "refuse":
        kind = "a TIFF of several pages" if image.format == "TIFF" else f"a moving {image.format}"
        raise Unreadable(f"{kind}; with `frames: first` in params.yaml its first one is taken")
    tags = getattr(image, "tag_v2", {})
    if ExifTags.Base.DNGVersion in tags or tags.get(ExifTags.Base.NewSubfileType) == 1:
        raise Unreadable("the preview in a camera's raw file; develop it, and save it as a picture")


def _plain(image: Image.Image, bits: int | None) -> Image.Image:
    try:
        return colour.eight_bit(image, bits)
    except ValueError as error:
        raise Unreadable(str(error)) from None


def _exif(image: Image.Image) -> tuple[int, str]:
    """Orientation and camera; 1 and "" where EXIF is damaged.

    Pillow's own exif_transpose fails on odd tags beside the orientation. Of a TIFF it has turned
    the picture as it was loaded, and taken the tag away.
    """
    try:
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation)
        names = (exif.get(ExifTags.Base.Make), exif.get(ExifTags.Base.Model))
    except DAMAGE:
        return 1, ""
    words = " ".join(name for name in names if isinstance(name, str))
    camera = " ".join("".join(letter for letter in words if letter.isprintable()).split())
    return orientation if isinstance(orientation, int) else 1, camera[:100]


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS:,} pixels"
    if isinstance(error, MemoryError):
        return "there is not the memory that it asks for"
    said = " ".join(str(error).split())[:100] if isinstance(error, SAID) else ""
    return f"damaged ({said or 'what it says of itself makes no sense'})"


def _begin(file: Path | BinaryIO, count: int) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(count)
    file.seek(0)
    return file.read(count)


# ---- size and shape ----


def fit(image: Image.Image, target: Target, *, profile: bytes | None = None) -> NDArray[np.uint8]:
    """H×W×C of `target`; an image in one of the modes colour.PLAIN, its colours those of `profile`.

    crop: scaled to cover it, then cut to the centre. pad: scaled to fit into it, black around.
    stretch: each side scaled by itself.
    """
    height, width, channels = target.shape
    flat = colour.flat(_scaled(image, target), profile).convert("L" if channels == 1 else "RGB")
    if flat.size != (width, height):
        padded = Image.new(flat.mode, (width, height))
        padded.paste(flat, ((width - flat.width) // 2, (height - flat.height) // 2))
        flat = padded
    return np.asarray(flat).reshape(target.shape)


def _scaled(image: Image.Image, target: Target) -> Image.Image:
    """Scaled and cut; smaller than the target where it is to be padded."""
    height, width, _ = target.shape
    if image.size == (width, height):
        return image
    if target.fit == "crop":
        return ImageOps.fit(image, (width, height), Resampling.BICUBIC)
    return image.resize(_scaled_size(image.size, target), Resampling.BICUBIC)


def _scaled_size(size: tuple[int, int], target: Target) -> tuple[int, int]:
    """What the whole of a picture of `size`, width and height, is scaled to."""
    height, width, _ = target.shape
    if target.fit == "stretch":
        return width, height
    factors = width / size[0], height / size[1]
    factor = max(factors) if target.fit == "crop" else min(factors)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _draft_size(size: tuple[int, int], target: Target) -> tuple[int, int]:
    """A JPEG is decoded no smaller than this: enough whether EXIF will have it turned or not."""
    (width, height), turned = _scaled_size(size, target), _scaled_size(size[::-1], target)
    return math.ceil(DRAFT * max(width, turned[1])), math.ceil(DRAFT * max(height, turned[0]))
