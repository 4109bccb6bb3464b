"""What is in a data set and what is wrong with it: counts, value ranges, duplicates."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.samples import fingerprint
from imagetrail.data.decoding import Target, Unreadable
from imagetrail.data.pictures import Examined, Pictures, group_equal

CELLS = 40  # pictures on a contact sheet


@dataclass
class Inspection:
    """What one pass over all pictures finds."""

    pictures: Pictures
    unreadable: list[dict[str, str]] = field(default_factory=list)
    fingerprints: list[str | None] = field(default_factory=list)  # of each; null: unreadable
    sheets: dict[int, list[NDArray[np.uint8]]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    total: float = 0.0
    squares: float = 0.0
    values: int = 0
    low: int = 255
    high: int = 0

    def add(self, examined: Examined | Unreadable) -> None:
        """Takes the next picture into account."""
        i = len(self.fingerprints)
        if isinstance(examined, Unreadable):
            self.unreadable.append({"source": self.pictures.sources[i], "reason": str(examined)})
            self.fingerprints.append(None)
            return
        image, _ = examined
        label = int(self.pictures.labels[i])
        self.fingerprints.append(fingerprint(image))
        self.counts[self.pictures.splits[i], label] += 1
        self.total += float(image.sum(dtype=np.float64))
        self.squares += float(np.square(image, dtype=np.float64).sum())
        self.values += image.size
        self.low, self.high = min(self.low, int(image.min())), max(self.high, int(image.max()))
        if len(self.sheets[label]) < CELLS:
            self.sheets[label].append(image)


def inspect(pictures: Pictures, target: Target) -> Inspection:
    found = Inspection(pictures)
    for examined in pictures.examined(range(len(pictures)), target):
        found.add(examined)
    return found


def report(found: Inspection, target: Target, *, licence: str) -> dict[str, Any]:
    """The findings as plain values."""
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
