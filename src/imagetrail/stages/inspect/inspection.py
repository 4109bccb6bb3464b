"""One pass over all pictures: what is in a data set, and what its pictures and files are like."""

import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from imagetrail.base.samples import fingerprint
from imagetrail.base.terminal import track
from imagetrail.data.decoding import Facts, Target, Unreadable
from imagetrail.data.pictures import Pictures, group_equal
from imagetrail.stages.inspect.measures import SIDE, Measures, measure, thumbnail

CELLS = 40  # pictures on a contact sheet of a class
ALL_CELLS = 4000  # of all classes together, that memory may hold
SHOWN = 96  # pixels of the longer side of a picture on a sheet

NUMBERS = ("width", "height", "bytes", "mean", "contrast", "dark", "bright", "sharpness")
WORDS = ("format", "mode", "camera")


@dataclass
class Inspection:
    """What one pass finds; each array has an entry a picture, NaN or "" where it is unreadable."""

    pictures: Pictures
    thumbnails: NDArray[np.uint8]  # N×n×n×C, on disk
    border: NDArray[np.float32]  # N×C
    numbers: Mapping[str, NDArray[np.float64]]
    words: Mapping[str, NDArray[np.object_]]
    coloured: NDArray[np.bool_]
    unreadable: list[dict[str, str]] = field(default_factory=list)
    fingerprints: list[str | None] = field(default_factory=list)  # of each; null: unreadable
    sheets: dict[int, list[NDArray[np.uint8]]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    total: float = 0.0
    squares: float = 0.0
    values: int = 0
    low: int = 255
    high: int = 0

    @property
    def readable(self) -> NDArray[np.bool_]:
        return np.array([name is not None for name in self.fingerprints], bool)

    def add(self, image: NDArray[np.uint8], facts: Facts) -> None:
        """Takes the next picture into account."""
        i, label = len(self.fingerprints), int(self.pictures.labels[len(self.fingerprints)])
        self.fingerprints.append(fingerprint(image))
        self.thumbnails[i] = thumbnail(image)
        self._note(i, measure(image, self.thumbnails[i]), facts)
        self.counts[self.pictures.splits[i], label] += 1
        self.total += float(image.sum(dtype=np.float64))
        self.squares += float(np.square(image, dtype=np.float64).sum())
        self.values += image.size
        self.low, self.high = min(self.low, int(image.min())), max(self.high, int(image.max()))
        if len(self.sheets[label]) < min(CELLS, max(8, ALL_CELLS // len(self.pictures.classes))):
            self.sheets[label].append(for_a_sheet(image))

    def _note(self, i: int, found: Measures, facts: Facts) -> None:
        for name in NUMBERS:
            self.numbers[name][i] = getattr(found if hasattr(found, name) else facts, name)
        for name in WORDS:
            self.words[name][i] = sys.intern(getattr(facts, name))  # few, and each kept once
        self.border[i], self.coloured[i] = found.border, found.coloured

    def leave_out(self, reason: Unreadable) -> None:
        source = self.pictures.sources[len(self.fingerprints)]
        self.unreadable.append({"source": source, "reason": str(reason)})
        self.fingerprints.append(None)


def inspect(pictures: Pictures, target: Target, scratch: Path) -> Inspection:
    """scratch: a folder with room for the thumbnails, 1 or 3 kB a picture, while they are used."""
    count, (height, width, channels) = len(pictures), target.shape
    side = min(SIDE, height, width)
    with tempfile.TemporaryFile(dir=scratch) as file:  # it goes when nobody uses it any more
        thumbnails = np.memmap(file, np.uint8, "w+", shape=(count, side, side, channels))
    found = Inspection(
        pictures,
        thumbnails,
        border=np.zeros((count, channels), np.float32),
        numbers={name: np.full(count, np.nan) for name in NUMBERS},
        words={name: np.full(count, "", object) for name in WORDS},
        coloured=np.zeros(count, bool),
    )
    looked_at = pictures.examined(range(count), target)
    for examined in track(looked_at, count, "looking at pictures", "pictures"):
        if isinstance(examined, Unreadable):
            found.leave_out(examined)
        else:
            found.add(*examined)
    return found


def for_a_sheet(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An H×W×C picture, at most SHOWN pixels wide and high."""
    height, width, channels = image.shape
    scale = SHOWN / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(size[1], size[0], channels)


def report(found: Inspection, target: Target, *, licence: str) -> dict[str, Any]:
    """The counts as plain values."""
    pictures = found.pictures
    splits = sorted({split for split, _ in found.counts})
    mean = found.total / max(found.values, 1)
    return {
        "licence": licence,
        "fit": target.fit,  # so that the exported model has its pictures as this one has
        "frames": target.frames,
        "bits": target.bits,
        "classes": list(pictures.classes),
        "images": sum(found.counts.values()),
        "counts": {
            split or "all": {
                name: found.counts[split, label] for label, name in enumerate(pictures.classes)
            }
            for split in splits
        },
        "values": {
            "low": found.low,
            "high": found.high,
            "mean": round(mean, 4),
            "std": round(max(found.squares / max(found.values, 1) - mean**2, 0) ** 0.5, 4),
        },
        "duplicates": duplicates(found),
        "unreadable": found.unreadable,
        "ignored": [{"source": name, "reason": reason} for name, reason in pictures.ignored],
    }


def duplicates(found: Inspection) -> dict[str, Any]:
    """Pictures equal in every pixel: how many too many, across splits, with different labels."""
    pictures = found.pictures
    copies = [group for group in group_equal(found.fingerprints) if len(group) > 1]
    across = [group for group in copies if len({pictures.splits[i] for i in group}) > 1]
    clashing = [group for group in copies if len({int(pictures.labels[i]) for i in group}) > 1]
    return {
        "superfluous": sum(len(group) - 1 for group in copies),
        "groups": len(copies),
        "groups_across_splits": len(across),
        "groups_with_different_labels": len(clashing),
        "examples": [[pictures.sources[i] for i in group] for group in copies[:20]],
    }
