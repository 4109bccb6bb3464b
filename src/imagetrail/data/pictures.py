"""Labelled pictures on their way in: damage is refused, size and colour follow one rule."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from PIL.Image import Transpose

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
AHEAD = 512  # results of work on all cores that may wait to be taken

T = TypeVar("T")
R = TypeVar("R")


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


def on_all_cores(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`work` of every item, in order, done on all cores; the results that wait are bounded."""
    pool = ThreadPoolExecutor()
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Pictures:
    """A data set as it arrived: labels at hand, pictures decoded one by one when asked for."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    splits: tuple[str, ...]  # per picture: train or test as published, "" where nothing is
    sources: tuple[str, ...]
    image: Callable[[int], Image.Image]  # raises Unreadable
    ignored: tuple[str, ...] = ()  # files that are no pictures by name

    def __len__(self) -> int:
        return len(self.labels)

    def decoded(
        self, which: Iterable[int], shape: tuple[int, int, int]
    ) -> Iterator[NDArray[np.uint8] | Unreadable]:
        """Pictures number `which` as `shape`, H×W×C uint8, or the reason why not, in order.

        They are decoded on all cores.
        """

        def one(i: int) -> NDArray[np.uint8] | Unreadable:
            try:
                return fit(self.image(i), shape)
            except Unreadable as reason:
                return reason

        return on_all_cores(one, which)

    def readable(
        self, which: Iterable[int], shape: tuple[int, int, int]
    ) -> Iterator[NDArray[np.uint8]]:
        """The same for pictures that are known to be readable."""
        for image in self.decoded(which, shape):
            if isinstance(image, Unreadable):
                raise image
            yield image


def group_equal(fingerprints: Iterable[str | None]) -> list[list[int]]:
    """The numbers of the pictures, those that are equal in every pixel as one group, in order.

    A picture without a fingerprint is unreadable, and in no group.
    """
    found: dict[str, list[int]] = {}
    for i, fingerprint in enumerate(fingerprints):
        if fingerprint is not None:
            found.setdefault(fingerprint, []).append(i)
    return list(found.values())


def in_memory(
    classes: Sequence[str],
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    splits: Sequence[str],
    names: Sequence[str],
) -> Pictures:
    return Pictures(
        tuple(classes),
        labels.astype(np.int64),
        tuple(splits),
        tuple(names),
        lambda i: Image.fromarray(images[i]),
    )
