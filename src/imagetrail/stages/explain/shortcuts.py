"""What accuracy loses without something that should not matter: a sign of shortcuts.

A part is blurred, as by `serving.occlusion`: that takes what is in it away, and brings nothing of
another class and no edge of its own.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.samples import Images
from imagetrail.metrics.significance import paired_interval
from imagetrail.serving import occlusion

BORDER = 1 / 8  # of each side: the rim of the picture
CENTRE = 1 / 4  # of each side is outside the centre, which so has a quarter of the picture
KEYS = ("difference", "difference_low", "difference_high")

Right = Callable[[Images], NDArray[np.bool_]]


def check(images: Images, right: Right) -> list[dict[str, str | float]]:
    """The change in accuracy without each part, and its paired 95 % interval (Tango).

    images: N×H×W×C. right: which of N such images are recognised.
    """
    as_they_are = right(images)
    rows: list[dict[str, str | float]] = []
    for name, changed in _changed(images):
        found = right(changed)
        ends = (round(value, 6) for value in paired_interval(found, as_they_are))
        row: dict[str, str | float] = {"without": name, "top1": round(float(found.mean()), 6)}
        rows.append(row | dict(zip(KEYS, ends, strict=True)))
    return rows


def _changed(images: Images) -> Iterator[tuple[str, Images]]:
    blurred = np.stack([occlusion.blurred(image) for image in images])
    for name, share in (("border", BORDER), ("surroundings", CENTRE)):
        yield name, _inside(images, blurred, share)
    yield "centre", _inside(blurred, images, CENTRE)
    if images.shape[3] == 3 and (images != images[..., :1]).any():
        yield "colour", images.mean(3, keepdims=True).round().astype(np.uint8).repeat(3, 3)


def _inside(images: Images, around: Images, share: float) -> Images:
    """The middle of some, and of others what is within this share of each side."""
    high, wide = (max(1, round(share * side)) for side in images.shape[1:3])
    whole = around.copy()
    whole[:, high:-high, wide:-wide] = images[:, high:-high, wide:-wide]
    return whole
