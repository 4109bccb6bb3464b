"""JPEG and PNG files as arrays: strict about damage, one rule for size, colour and transparency."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = {".jpg", ".jpeg", ".png"}
MAX_PIXELS = 100_000_000  # a larger picture is refused: decoding it could take gigabytes


class Unreadable(Exception):
    """A file that is no whole picture; the text says why."""


def decode(path: Path) -> Image.Image:
    """The picture in `path`, upright, as mode L or RGB; raises Unreadable."""
    if path.stat().st_size == 0:
        raise Unreadable("the file is empty")
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Unreadable(f"{image.width}×{image.height} pixels are more than {MAX_PIXELS:,}")
            image.load()
            return _flat(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError:
        raise Unreadable(f"more than {MAX_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three for damaged files
        reason = "not a JPEG or PNG picture" if "cannot identify" in str(error) else f"damaged ({error})"
        raise Unreadable(reason) from None


def _flat(image: Image.Image) -> Image.Image:
    """Mode L or RGB: 16 bits scaled down to 8, transparency laid on white."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def fit(image: Image.Image, size: int, channels: int) -> NDArray[np.uint8]:
    """size×size×channels: scaled to cover the square, then cut to its centre; nothing is stretched."""
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(size, size, channels)
