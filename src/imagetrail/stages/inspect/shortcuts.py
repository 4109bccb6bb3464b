"""Findings about what tells the class, or the split, without a look at what a picture shows.

A classifier of one attribute alone, that knows the share of each class in each of its values (or
bins of equal number), is judged on the half of the pictures that it has not seen, by informedness,
hits less false alarms (Powers, 2011): 0 by chance, whatever the shares of the classes; 1 if the
class is told without fail. It counts if it is large, and surely above 0 for all that is asked
(Bonferroni).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from imagetrail.base.rng import generator
from imagetrail.base.words import percent
from imagetrail.stages.inspect.seen import Found, Numbers, Seen

BINS = 16  # of a number that has more values than twice as many
TOLD = 0.5  # informedness that is worth a word
ALPHA = 0.01  # chance of a word about a set without a shortcut
ASKED = 12  # attributes, of classes and of splits
LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "HEIF", "AVIF")
ENOUGH = 10  # pictures that a class needs to be judged

Values = NDArray[np.int64]  # of each picture, numbered


@dataclass(frozen=True)
class Told:
    """How well one attribute tells one class from the others."""

    label: int
    hits: float  # share of the class that is taken for it
    alarms: float  # share of the others that is taken for it


def numbered(attribute: NDArray[Any]) -> Values:
    """Words and few numbers each a value of its own; many numbers in bins of equal number."""
    values, codes = np.unique(attribute, return_inverse=True)
    if len(values) <= 2 * BINS or values.dtype.kind not in "if":
        return np.asarray(codes, np.int64)
    edges = np.quantile(attribute, np.linspace(0, 1, BINS + 1)[1:-1])
    binned: Values = np.searchsorted(edges, attribute, side="right")
    return binned


def told(codes: Values, labels: Numbers, classes: int) -> list[Told]:
    """Of every class that is told, the surest first."""
    half = generator(0, "shortcuts").permutation(len(labels)) % 2
    taken = np.empty(len(labels), np.int64)
    for fold in (0, 1):
        table = np.zeros((int(codes.max()) + 1, classes))
        np.add.at(table, (codes[half != fold], labels[half != fold]), 1)
        shares = (table + 0.01) / (table.sum(0) + 1)
        taken[half == fold] = shares.argmax(1)[codes[half == fold]]
    bound = float(-ndtri(ALPHA / (ASKED * max(classes, 1))))
    found = []
    for label in range(classes):
        mine = labels == label
        if min(mine.sum(), (~mine).sum()) < ENOUGH:
            continue
        hits, alarms = float((taken[mine] == label).mean()), float((taken[~mine] == label).mean())
        spread = sum(
            (p * (1 - p) + 0.25 / n) / n for p, n in ((hits, mine.sum()), (alarms, (~mine).sum()))
        )
        if hits - alarms >= TOLD and hits - alarms > bound * spread**0.5:
            found.append(Told(label, hits, alarms))
    return sorted(found, key=lambda one: one.alarms - one.hits)


def _size(seen: Seen) -> NDArray[Any]:
    width, height = seen.found.numbers["width"], seen.found.numbers["height"]
    sizes: NDArray[np.float64] = (width * 1e6 + height)[seen.readable]
    return sizes


def _aspect(seen: Seen) -> NDArray[Any]:
    ratio = seen.found.numbers["width"] / seen.found.numbers["height"]
    rounded: NDArray[np.float64] = np.round(ratio, 2)[seen.readable]
    return rounded


def _word(name: str) -> Callable[[Seen], NDArray[Any]]:
    return lambda seen: seen.found.words[name][seen.readable].astype(str)


def _number(name: str) -> Callable[[Seen], NDArray[Any]]:
    return lambda seen: seen.found.numbers[name][seen.readable]


def _border(seen: Seen) -> NDArray[Any]:
    """Of colour pictures, the mean along the edges to a quarter of each channel's range."""
    border = seen.found.border[seen.readable]
    if border.shape[1] == 1:
        return border[:, 0]
    quarters: Values = (border // 64).astype(np.int64) @ np.array([16, 4, 1])
    return quarters


ATTRIBUTES: dict[str, Callable[[Seen], NDArray[Any]]] = {
    "file size": _number("bytes"),
    "file format": _word("format"),
    "camera": _word("camera"),
    "resolution": _size,
    "aspect ratio": _aspect,
    "border colour": _border,
    "brightness": _number("mean"),
    "contrast": _number("contrast"),
    "sharpness": _number("sharpness"),
}


def shortcut(attribute: str) -> Callable[[Seen], Found | None]:
    """The finding that an attribute alone tells the class."""

    def look(seen: Seen) -> Found | None:
        labels = seen.pictures.labels[seen.readable]
        found = _told(seen, attribute, labels, len(seen.pictures.classes))
        if not found:
            return None
        best = found[0]
        name = seen.pictures.classes[best.label]
        also = f", and {len(found) - 1} more classes" if len(found) > 1 else ""
        text = f"{attribute} alone tells {name!r}: {_shares(best)}{also}"
        harmless = attribute == "file size" and _by_content(seen, labels == best.label)
        return Found(text, len(found), _examples(seen, labels, best.label), harmless)

    return look


def _by_content(seen: Seen, mine: NDArray[np.bool_]) -> bool:
    """Whether the file size of a class follows from what its pictures show, as far as is known.

    A plain picture makes a small file. How it was saved leaves a trace in pixels if the format is
    lossy; and to be seen in sizes of files, it must be of other pixels than the rest.
    """
    area = (seen.found.numbers["width"] * seen.found.numbers["height"])[seen.readable]
    lossy = np.isin(seen.found.words["format"][seen.readable[mine]].astype(str), LOSSY)
    return bool(lossy.mean() < 0.5 or np.median(area[mine]) == np.median(area[~mine]))


def shifted_splits(seen: Seen) -> Found | None:
    """Published splits that can be told apart by what their files or values are like."""
    names = sorted(set(seen.pictures.splits))
    if len(names) < 2:
        return None
    numbers = {name: number for number, name in enumerate(names)}
    sides = np.array([numbers[seen.pictures.splits[i]] for i in seen.readable], np.int64)
    words = [
        f"{attribute} tells {names[found[0].label]!r} ({_shares(found[0])})"
        for attribute in ATTRIBUTES
        if (found := _told(seen, attribute, sides, len(names)))
    ]
    if not words:
        return None
    return Found(f"the published splits differ: {'; '.join(words[:3])}", len(words))


def _told(seen: Seen, attribute: str, labels: Numbers, classes: int) -> Sequence[Told]:
    if not len(labels):
        return []
    codes = numbered(ATTRIBUTES[attribute](seen))
    return told(codes, labels, classes) if codes.any() else []


def _shares(one: Told) -> str:
    hits, alarms = percent(one.hits, 0), percent(one.alarms, 0)
    return f"{hits} of it, and {alarms} of the others, are taken for it"


def _examples(seen: Seen, labels: Numbers, label: int) -> list[tuple[int, ...]]:
    """Some of the class beside some of others."""
    mine, others = seen.readable[labels == label], seen.readable[labels != label]
    return list(
        zip(mine[:10].tolist(), others[:: max(1, len(others) // 10)][:10].tolist(), strict=False)
    )
