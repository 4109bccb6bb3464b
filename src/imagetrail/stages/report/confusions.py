"""Which class is taken for which: the part of the matrix that matters, and its pictures."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from imagetrail.base.samples import Samples
from imagetrail.stages.report.pictures import Album

CLASSES = 20  # of the matrix, at most: those with most mistakes
PAIRS = 40  # of classes with pictures, the most frequent
DEEPEST = 42  # percent of the colour: the text on it stays easy to read in light and dark
EACH = 12  # pictures of a pair


@dataclass(frozen=True)
class Pair:
    label: str
    predicted: str
    images: int
    key: str  # of its place on the page
    strip: str | None = None  # address of its pictures


@dataclass(frozen=True)
class Confusions:
    names: list[str]  # of the matrix, in the order of the classes
    left_out: int  # classes that it does not have
    cells: dict[tuple[str, str], int]
    totals: dict[str, int]  # test pictures of a class
    pairs: list[Pair]
    keys: dict[tuple[str, str], str] = field(default_factory=dict)  # of those with pictures
    taken_for: dict[str, str] = field(default_factory=dict)  # class: what it is most taken for

    def shade(self, label: str, predicted: str) -> int:
        """How strongly a cell is coloured, in percent: by the root of the share of its row.

        Right and wrong have colours of their own; of the wrong the largest share is the strongest.
        """
        share = self._share(label, predicted)
        depth: float = DEEPEST * (share if label == predicted else share / self._worst) ** 0.5
        return round(depth)

    def _share(self, label: str, predicted: str) -> float:
        """Of the row, 0 … 1."""
        return self.cells.get((label, predicted), 0) / max(1, self.totals.get(label, 0))

    @cached_property
    def _worst(self) -> float:
        """The largest share that is wrong."""
        wrong = [self._share(*pair) for pair in self.cells if pair[0] != pair[1]]
        return max(wrong, default=1.0) or 1.0


def find(rows: Sequence[Mapping[str, str]], classes: Sequence[str]) -> Confusions:
    """rows: of confusion.csv; classes: all of them, in order."""
    cells = {(row["label"], row["predicted"]): int(row["images"]) for row in rows}
    totals: dict[str, int] = defaultdict(int)
    wrong: dict[str, int] = defaultdict(int)
    for (label, predicted), count in cells.items():
        totals[label] += count
        if label != predicted:
            wrong[label] += count
            wrong[predicted] += count
    mistakes = sorted(
        ((count, pair) for pair, count in cells.items() if pair[0] != pair[1]),
        key=lambda entry: (-entry[0], entry[1]),
    )
    worst = set(sorted(classes, key=lambda name: -wrong[name])[:CLASSES])
    number = {name: i for i, name in enumerate(classes)}
    taken_for: dict[str, str] = {}
    for count, (label, predicted) in mistakes:
        taken_for.setdefault(label, f"{predicted} ({count})")
    return Confusions(
        names=[name for name in classes if name in worst],
        left_out=len(classes) - len(worst),
        cells=cells,
        totals=dict(totals),
        pairs=[
            Pair(label, predicted, count, f"pair-{number[label]}-{number[predicted]}")
            for count, (label, predicted) in mistakes[:PAIRS]
        ],
        taken_for=taken_for,
    )


def illustrated(found: Confusions, test: Samples, answers: Any, album: Album) -> Confusions:
    """With pictures of the pairs, while the album has room. answers: N, the predicted classes."""
    number = {name: i for i, name in enumerate(test.classes)}
    pairs = []
    for pair in found.pairs:
        mine = (test.labels == number[pair.label]) & (answers == number[pair.predicted])
        strip = album.strip(list(test.gather(np.flatnonzero(mine)[:EACH])))
        pairs.append(Pair(pair.label, pair.predicted, pair.images, pair.key, strip))
    keys = {(pair.label, pair.predicted): pair.key for pair in pairs if pair.strip}
    return Confusions(
        found.names, found.left_out, found.cells, found.totals, pairs, keys, found.taken_for
    )
