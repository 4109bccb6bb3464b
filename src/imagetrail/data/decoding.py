"""One file becomes one picture: judged by content, damage refused, size and colour by one rule."""

import io
import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Resampling, Transpose
from pydantic import Field

from imagetrail.data import colour, formats, limits

Shape = tuple[int, int, int]  # H, W, C
Fit = Literal["crop", "pad", "stretch"]
Frames = Literal["refuse", "first"]
Box = tuple[float, float, float, float]  # left, top, right, bottom
Bits = Annotated[int, Field(ge=8, le=16)]
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
SIDEWAYS = {turn for orientation, turn in TURNS.items() if orientation > 4}


@dataclass(frozen=True)
class Target:
    """What every picture is brought to."""

    shape: Shape
    fit: Fit = "crop"
    frames: Frames = "refuse"  # of a file that has several
    bits: Bits | None = None  # in use of 16-bit grey; None: what the file's brightest pixel needs

    @property
    def turned(self) -> "Target":
        """For a picture that lies on its side."""
        height, width, channels = self.shape
        return replace(self, shape=(width, height, channels))


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


def read(file: Path | BinaryIO, target: Target) -> tuple[NDArray[np.uint8], Facts]:
    """The picture in `file` as `target` says, and what the file is; raises Unreadable."""
    try:
        size = file.stat().st_size if isinstance(file, Path) else file.seek(0, io.SEEK_END)
        if size == 0:
            raise Unreadable("the file is empty")
        if size > limits.MAX_BYTES:
            raise Unreadable(f"{size:,} bytes are more than {limits.MAX_BYTES:,}")
        try:
            return _picture(file, size, target)
        except ValueError as error:
            if "MAX_TEXT" not in str(error):  # much text in a PNG is no damage
                raise
            return _picture(io.BytesIO(formats.without_text(_begin(file, size))), size, target)
    except UnidentifiedImageError:
        raise Unreadable(formats.refusal(_begin(file, formats.HEAD))) from None
    except limits.DAMAGE as error:
        raise Unreadable(limits.reason(error)) from None


def _picture(file: Path | BinaryIO, size: int, target: Target) -> tuple[NDArray[np.uint8], Facts]:
    with Image.open(file, formats=_taken()) as image:
        _refuse(image, target)
        stored, mode = image.size, image.mode
        draft = image.draft(None, _draft_size(stored, target))
        whole = stored if image.info.get("progressive") else image.size  # that one is held in full
        with limits.ROOM.of(whole[0] * whole[1]):
            image.load()
            orientation, camera = _exif(image)
            plain = _plain(image, target.bits)
            box, turn = draft[1] if draft else None, TURNS.get(orientation)
            profile = image.info.get("icc_profile")
            pixels = fit(plain, target, box=box, turn=turn, profile=profile)
    width, height = stored[::-1] if turn in SIDEWAYS else stored
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
    if image.width * image.height > limits.MAX_PIXELS:
        raise Unreadable(f"{image.width}×{image.height} pixels are more than {limits.MAX_PIXELS:,}")
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
    except limits.DAMAGE:
        return 1, ""
    words = " ".join(name for name in names if isinstance(name, str))
    camera = " ".join("".join(letter for letter in words if letter.isprintable()).split())
    return orientation if isinstance(orientation, int) else 1, camera[:100]


def _begin(file: Path | BinaryIO, count: int) -> bytes:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return opened.read(count)
    file.seek(0)
    return file.read(count)


# ---- size and shape ----


def fit(
    image: Image.Image,
    target: Target,
    *,
    box: Box | None = None,
    turn: Transpose | None = None,
    profile: bytes | None = None,
) -> NDArray[np.uint8]:
    """H×W×C of `target`, of an image in one of the modes colour.PLAIN.

    crop: scaled to cover it, then cut to the centre. pad: scaled to fit into it, black around.
    stretch: each side scaled by itself. box: where in the image the picture is; turn: what brings
    it upright; profile: of its colours.
    """
    height, width, channels = target.shape
    lying = turn in SIDEWAYS
    scaled = _scaled(image, box or (0, 0, *image.size), target.turned if lying else target)
    flat = colour.flat(scaled, profile).convert("L" if channels == 1 else "RGB")
    upright = flat if turn is None else flat.transpose(turn)
    if upright.size != (width, height):
        padded = Image.new(upright.mode, (width, height))
        padded.paste(upright, ((width - upright.width) // 2, (height - upright.height) // 2))
        upright = padded
    return np.asarray(upright).reshape(target.shape)


def _scaled(image: Image.Image, box: Box, target: Target) -> Image.Image:
    """Scaled and cut; smaller than the target where it is to be padded."""
    height, width, _ = target.shape
    if image.size == (width, height) and box == (0, 0, width, height):
        return image
    right, below = box[2:]
    if target.fit == "crop":
        across, down = min(right, below * width / height), min(below, right * height / width)
        left, top = (right - across) / 2, (below - down) / 2
        inner = (left, top, left + across, top + down)
        return image.resize((width, height), Resampling.BICUBIC, inner)
    return image.resize(_scaled_size((right, below), target), Resampling.BICUBIC, box)


def _scaled_size(size: tuple[float, float], target: Target) -> tuple[int, int]:
    """What the whole of a picture of `size`, width and height, is scaled to."""
    height, width, _ = target.shape
    if target.fit == "stretch":
        return width, height
    factors = width / size[0], height / size[1]
    factor = max(factors) if target.fit == "crop" else min(factors)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _draft_size(size: tuple[int, int], target: Target) -> tuple[int, int]:
    """A JPEG is decoded no smaller than this: enough whether EXIF will have it turned or not."""
    both = _scaled_size(size, target), _scaled_size(size, target.turned)
    width, height = (max(sides) for sides in zip(*both, strict=True))
    return math.ceil(DRAFT * width), math.ceil(DRAFT * height)
