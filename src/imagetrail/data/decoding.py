"""One file becomes one picture: judged by content, damage refused, size and colour by one rule."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from PIL.Image import Transpose

Shape = tuple[int, int, int]  # H, W, C
FORMATS = {".jpg", ".jpeg", ".png"}
MAX_PIXELS = 100_000_000  # a larger picture is refused: decoding it could take gigabytes
TURNS = {  # EXIF orientation: what brings the picture upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Target:
    """What every picture is brought to."""

    shape: Shape
    fit: Literal["crop", "pad", "stretch"] = "crop"
    frames: Literal["refuse", "first"] = "refuse"  # of a file that has several


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


def decode(file: Path | BinaryIO) -> Image.Image:
    """The still picture in `file`, upright, as mode L or RGB; raises Unreadable."""
    try:
        if isinstance(file, Path) and file.stat().st_size == 0:
            raise Unreadable("the file is empty")
        with Image.open(file, formats=("JPEG", "PNG", "GIF")) as image:  # GIF: to say what it is
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}×{image.height}"
                raise Unreadable(f"{size} pixels are more than {MAX_PIXELS:,}")
            moves = image.format in ("GIF", "PNG") and getattr(image, "is_animated", False)
            if moves or image.format == "GIF":
                kind = f"an animated {image.format}" if moves else "a GIF"
                raise Unreadable(f"{kind}; only still JPEG and PNG pictures are taken")
            image.load()
            return _flat(_upright(image))
    except Image.DecompressionBombError:
        raise Unreadable(f"more than {MAX_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three for damaged files
        raise Unreadable(_reason(error)) from None


def _reason(error: OSError | SyntaxError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "not a JPEG or PNG picture" if "cannot identify" in str(error) else f"damaged ({error})"


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the camera was held; Pillow's own exif_transpose fails on odd tags beside that."""
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _flat(image: Image.Image) -> Image.Image:
    """Mode L or RGB: 16 bits scaled down to 8, transparency laid on white."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def fit(image: Image.Image, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """H×W×C as `shape` says: scaled to cover it, then cut to its centre; nothing is stretched."""
    height, width, channels = shape
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(shape)


def read(file: Path | BinaryIO, target: Target) -> tuple[NDArray[np.uint8], Facts]:
    """The picture in `file` as `target` says, and what the file is; raises Unreadable."""
    image = decode(file)
    size = file.stat().st_size if isinstance(file, Path) else file.seek(0, io.SEEK_END)
    facts = Facts("", image.width, image.height, image.mode, size, "")
    return fit(image, target.shape), facts
