"""What a sample of the pictures shows: their size, colour and kind, seen in seconds."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.errors import UserError
from imagetrail.base.rng import generator
from imagetrail.base.words import count_of
from imagetrail.data.decoding import Facts, Target, Unreadable
from imagetrail.data.pictures import Pictures

SAMPLE = 80  # pictures that are opened
LEAST = 3  # pictures of a class: one to train, to validate and to test with
SEEN = (64, 64, 3)  # what they are brought to
COLOURLESS = 12  # grey levels by which the channels of a grey picture differ, saved as JPEG
PLAIN = 0.6  # share of the border, within NEAR grey levels, of a picture on a plain ground
NEAR = 12
ALPHABET = 5  # classes, or more, that signs have
SOLID = 0.8  # share of the pixels of writing that are ink or paper
MIRRORED = ("left", "right", "clockwise", "counterclockwise", "anticlockwise")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Look:
    """What was seen."""

    count: int  # pictures
    classes: tuple[str, ...]
    smallest: int  # pictures of the smallest class, LEAST or more
    tested: int  # pictures in a published test set
    grouped: bool
    formats: tuple[str, ...]
    short: int  # pixels: the shorter side, in the middle
    same_size: bool
    long: float  # longer side by shorter, exceeded by a tenth of the pictures
    grey: bool
    plain: bool  # on a plain ground
    written: bool  # signs, which must not be mirrored
    several: float  # share of the files that have several pages or frames


def look(pictures: Pictures, where: str) -> Look:
    """Opens a seeded sample. Raises UserError if there is nothing to learn from."""
    counts = np.bincount(pictures.labels, minlength=len(pictures.classes))
    if len(pictures.classes) < 2 or np.count_nonzero(counts) < 2:
        names = ", ".join(pictures.classes) or "none"
        raise UserError(f"{where}: a classifier needs pictures of two classes, here is {names}")
    if (smallest := int(counts.min())) < LEAST:
        has = count_of(smallest, "picture")
        name = pictures.classes[int(counts.argmin())]
        raise UserError(f"{where}: class {name} has {has}; at least {LEAST} are needed")
    order = generator(0, "init").permutation(len(pictures))[:SAMPLE]
    chosen = [int(i) for i in np.sort(order)]
    found, several = _examined(pictures, chosen, where)
    sizes = np.array([(facts.height, facts.width) for _, facts in found])
    images = np.stack([image for image, _ in found])
    grey = bool(np.mean([_grey(image) for image in images]) >= 0.98)
    plain = bool(np.median([_ground(image) for image in images]) >= PLAIN)
    ink = float(np.median([_solid(image) for image in images])) >= SOLID
    solid = ink and plain and grey and len(pictures.classes) >= ALPHABET
    return Look(
        count=len(pictures),
        classes=pictures.classes,
        smallest=smallest,
        tested=sum(split == "test" for split in pictures.splits),
        grouped=any(pictures.groups),
        formats=tuple(
            name for name, _ in Counter(f.format for _, f in found).most_common() if name
        ),
        short=int(np.median(sizes.min(1))),
        same_size=len({tuple(size) for size in sizes.tolist()}) == 1,
        long=float(np.quantile(sizes.max(1) / sizes.min(1), 0.9)),
        grey=grey,
        plain=plain,
        written=solid or _signs(pictures.classes),
        several=several,
    )


def _examined(
    pictures: Pictures, chosen: list[int], where: str
) -> tuple[list[tuple[NDArray[np.uint8], Facts]], float]:
    """The readable pictures with their facts, and the share that only `frames: first` reads."""
    found, reasons, again = [], [], []
    for i, one in zip(chosen, pictures.examined(chosen, Target(SEEN, "stretch")), strict=True):
        if isinstance(one, Unreadable):
            reasons.append(f"{pictures.sources[i]}: {one}")
            again.append(i)
        else:
            found.append(one)
    opened = pictures.examined(again, Target(SEEN, "stretch", "first"))
    more = [one for one in opened if not isinstance(one, Unreadable)]
    if not found + more:
        raise UserError(f"{where}: none of {len(chosen)} pictures can be read; {reasons[0]}")
    return found + more, len(more) / len(chosen)


def _grey(image: NDArray[np.uint8]) -> bool:
    spread = np.ptp(image.astype(np.int16), axis=2)
    return bool(np.quantile(spread, 0.99) <= COLOURLESS)


def _ground(image: NDArray[np.uint8]) -> float:
    """The share of the border that is as the middle of its grey levels."""
    inside = np.ones(image.shape[:2], bool)
    inside[2:-2, 2:-2] = False
    border = image.mean(2)[inside]
    return float(np.mean(np.abs(border - np.median(border)) <= NEAR))


def _solid(image: NDArray[np.uint8]) -> float:
    """The share of pixels within an eighth of the picture's darkest or lightest grey."""
    values = image.mean(2)
    low, high = values.min(), values.max()
    near = (high - low) / 8
    return float(np.mean((values <= low + near) | (values >= high - near)))


def _signs(classes: tuple[str, ...]) -> bool:
    """Whether the classes are letters, digits or directions by their names."""
    names = [name.strip().lower() for name in classes]
    if any(word in MIRRORED for name in names for word in name.replace("_", " ").split()):
        return True
    return all(len(name) == 1 or name in DIGITS for name in names) and len(names) > 2
