"""Pixels of any kind become 8 bits of grey or sRGB: depth, inks, profiles, transparency."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners fill
PLAIN = ("L", "LA", "RGB", "RGBA", "CMYK")


def eight_bit(image: Image.Image, bits: int | None) -> Image.Image:
    """In one of the modes PLAIN.

    bits: in use where pixels have more than 8; None: as many as the brightest pixel needs. Raises
    ValueError for values that have no known scale.
    """
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_shallow(np.asarray(image), bits))
    if image.mode in ("PA", "RGBa", "La") or "transparency" in image.info:
        return image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode == "LAB":
        return _from_lab().apply(image)
    if image.mode in PLAIN:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _shallow(values: NDArray[Any], bits: int | None) -> NDArray[np.uint8]:
    """Levels of grey, 0 … 1 if they are fractions, 0 … 65535 otherwise, as 0 … 255."""
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high < 1 << DEPTHS[-1]:  # neither is a value that is no number
        raise ValueError(f"values {low:g} … {high:g}; 0 … 1 or 0 … 65535 can be told to be grey")
    if np.issubdtype(values.dtype, np.floating) and high <= 1:
        return (values * 255).round().astype(np.uint8)
    divisor = 1 << (bits or bits_for(high)) - 8
    return (values // divisor).clip(0, 255).astype(np.uint8)


def bits_for(high: float) -> int:
    return next(bits for bits in DEPTHS if high < 1 << bits)


def flat(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Mode L or RGB: transparency laid on white, the colours of a profile brought to sRGB.

    image: in one of the modes PLAIN. A profile that is damaged or of other colours is ignored.
    """
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    transform = _to_srgb(profile, image.mode) if profile else None
    if transform:
        return transform.apply(image)
    return image.convert("RGB") if image.mode == "CMYK" else image


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None: nothing is to be done, or nothing can be done."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in (opened.profile.profile_description or "").lower():
            return None
        return ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


@lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
