"""Findings about single pictures and files that are unlike the others of their set.

What is odd is judged beside the rest: all of MNIST is dark, and none of it is too dark.
"""

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagetrail.stages.inspect.seen import Found, Numbers, Seen, listed, singly

BLANK = 2.0  # grey levels of standard deviation
FAINT = 8.0
DARK, BRIGHT = 40.0, 215.0  # nearly all pixels are below, above
# Of fine detail, in powers of two, that a blurred picture lacks beside the others: so many standard
# deviations (by the median absolute deviation), at least and at most so much.
BEYOND, BLUR = 4.5, (1.5, 2.5)
TIMES_SMALLER, TIMES_LONGER = 4.0, 2.0  # in area and in shape, than the median picture

Floats = NDArray[np.float64]


def _numbers(seen: Seen, name: str) -> Floats:
    return seen.found.numbers[name][seen.readable]


def _flat(seen: Seen) -> NDArray[np.bool_]:
    return _numbers(seen, "contrast") < BLANK


def _chosen(seen: Seen, odd: NDArray[np.bool_]) -> Numbers:
    """The pictures that are odd, if they are few: what most are is how the set is."""
    chosen = seen.readable[odd]
    return chosen if len(chosen) < len(seen.readable) / 2 else chosen[:0]


def blank(seen: Seen) -> Found | None:
    return singly(seen.readable[_flat(seen)], "nothing to see, one colour all over")


def dark(seen: Seen) -> Found | None:
    odd = (_numbers(seen, "dark") < DARK) & ~_flat(seen)
    return singly(_chosen(seen, odd), f"dark, nearly all pixels below {DARK:g} of 255")


def bright(seen: Seen) -> Found | None:
    odd = (_numbers(seen, "bright") > BRIGHT) & ~_flat(seen)
    return singly(_chosen(seen, odd), f"too bright, nearly all pixels above {BRIGHT:g} of 255")


def low_contrast(seen: Seen) -> Found | None:
    odd = (_numbers(seen, "contrast") < FAINT) & ~_flat(seen)
    odd &= (_numbers(seen, "dark") >= DARK) & (_numbers(seen, "bright") <= BRIGHT)
    return singly(_chosen(seen, odd), f"little contrast, below {FAINT:g} grey levels")


def blurred(seen: Seen) -> Found | None:
    """Pictures that lack the fine detail that others of the same coarse detail have."""
    sharpness = _numbers(seen, "sharpness")
    middle = float(np.median(sharpness))
    spread = 1.4826 * float(np.median(np.abs(sharpness - middle)))
    odd = (sharpness < middle - np.clip(BEYOND * spread, *BLUR)) & ~_flat(seen)
    return singly(_chosen(seen, odd), "blurred, at the size that the model sees")


def odd_size(seen: Seen) -> Found | None:
    """Pictures that are far smaller than the rest, or that have to be enlarged much."""
    area = _numbers(seen, "width") * _numbers(seen, "height")
    height, width, _ = seen.shape
    enlarged = 4 * area < height * width
    odd = enlarged | (area * TIMES_SMALLER < np.median(area))
    odd &= area < np.median(area) if enlarged.all() else True
    text = f"{TIMES_SMALLER:g} times smaller than the median, or than image_size"
    return singly(_chosen(seen, odd), text)


def odd_shape(seen: Seen) -> Found | None:
    sides = np.stack([_numbers(seen, "width"), _numbers(seen, "height")])
    longer = sides.max(0) / sides.min(0)
    odd = longer > TIMES_LONGER * np.median(longer)
    text = f"{TIMES_LONGER:g} times as long, beside the other side, as the median picture"
    return singly(_chosen(seen, odd), text)


def mixed_colour(seen: Seen) -> Found | None:
    """Grey pictures among coloured ones, or coloured ones among grey."""
    found, which = seen.found, seen.readable
    grey = np.isin(found.words["mode"][which].astype(str), ("L", "1", "I", "I;16", "LA", "F"))
    if seen.shape[2] == 3:
        grey = ~found.coloured[which]
    share = float(grey.mean()) if len(grey) else 0.0
    if share in (0.0, 1.0):
        return None
    rare, name = (grey, "grey") if share <= 0.5 else (~grey, "coloured")
    return singly(which[rare], f"{name}, unlike the other {len(which) - rare.sum():,}")


def wrong_suffix(seen: Seen) -> Found | None:
    """Files whose content is of another format than their name says."""
    Image.init()
    formats = Image.registered_extensions()
    wrong, kinds = [], set()
    for i in seen.readable.tolist():
        suffix = PurePosixPath(seen.pictures.sources[i]).suffix.lower()
        named, real = formats.get(suffix, ""), seen.found.words["format"][i]
        if named and real and _family(named) != _family(real):
            wrong.append(i)
            kinds.add(f"{real} called {suffix}")
    return singly(wrong, f"wrong suffix, {listed(sorted(kinds))}")


def _family(name: str) -> str:
    return {"MPO": "JPEG", "HEIC": "HEIF"}.get(name, name)
