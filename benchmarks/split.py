"""How much of a split moves with 10 % more pictures, five times in a row.

`python benchmarks/split.py` prints the table of docs/design/split.md; with the name of a kind, that
part. Of a split drawn anew, as by scikit-learn's train_test_split, 43 % change sides.
"""

import sys
from dataclasses import dataclass, field

import numpy as np

from imagetrail.data.pictures import in_memory
from imagetrail.stages.split import units
from imagetrail.stages.split.coverage import TEST, TRAIN, VALID
from imagetrail.stages.split.division import divide
from imagetrail.stages.split.params import Split
from imagetrail.stages.split.units import Numbers

SPLIT = Split(valid=0.1, test=0.2)
SIZES = ((30, 2), (100, 2), (300, 10), (1000, 10), (1000, 100), (3000, 100), (10_000, 10))
MORE = {"single": ((100_000, 100),)}
PICTURES = 20_000  # of all draws of a row at the start
HEAD = (
    "| | pictures | classes | units | share of test off by | of valid | moved, mean | most | "
    "test → train | seen |\n|---|" + "--:|" * 9
)


@dataclass
class Arriving:
    """Pictures that come one by one."""

    kind: str
    classes: int
    rng: np.random.Generator
    fingerprints: list[str] = field(default_factory=list)
    near: list[int | None] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)  # label of each group
    members: list[int] = field(default_factory=list)  # group of each picture

    def grow(self, count: int) -> None:
        for _ in range(count):
            number = len(self.labels)  # the first are of each class in turn
            label = number if number < 4 * self.classes else int(self.rng.integers(2**31))
            self.labels.append(label % self.classes)
            self.fingerprints.append(self.rng.bytes(12).hex())
            self.near.append(None)
            self.groups.append("")
            if self.kind == "near" and number and self.rng.random() < 0.2:
                self._join(number, int(self.rng.integers(number)))
                if self.rng.random() < 0.2:
                    self._join(number, int(self.rng.integers(number)))
            if self.kind == "groups":
                self._put(number)

    def _join(self, new: int, old: int) -> None:
        """The two become near duplicates, with all that are so of either; labels are the old's."""
        self.labels[new] = self.labels[old]
        marks = {self.near[new], self.near[old]} - {None}
        if marks:
            for i, mark in enumerate(self.near):
                self.near[i] = new if mark in marks else mark
        self.near[new] = self.near[old] = new

    def _put(self, new: int) -> None:
        """In a group by the Pitman-Yor process, of whose label nine in ten are."""
        if self.rng.random() < (5 + 0.5 * len(self.kinds)) / (5 + new):
            self.kinds.append(self.labels[new])
            self.members.append(len(self.kinds) - 1)
        else:
            self.members.append(int(self.rng.choice(self.members)))
        self.groups[new] = f"group {self.members[new]}"
        if self.rng.random() < 0.9:
            self.labels[new] = self.kinds[self.members[new]]

    def parts(self, seed: int) -> tuple[Numbers, int]:
        """The part of each picture, and how many units there are."""
        found = units.find(self.fingerprints, self.near, self.groups)
        count = len(self.labels)
        names, pixels = ["x"] * count, np.empty((count, 1, 1), np.uint8)
        classes = [str(label) for label in range(self.classes)]
        pictures = in_memory(classes, pixels, np.array(self.labels), [""] * count, names)
        return divide(pictures, found, SPLIT, seed).parts, len(found)


def steps(kind: str, count: int, classes: int, seed: int) -> list[float]:
    """Units; deviations of test and valid; moved, mean and most; test to train; seen."""
    arriving = Arriving(kind, classes, np.random.default_rng(seed))
    arriving.grow(count)
    before, size = arriving.parts(seed)
    off = [abs((before == TEST).mean() - 0.2), abs((before == VALID).mean() - 0.08)]
    moved, back, seen = [], [], []
    for _ in range(5):
        arriving.grow(len(before) // 10)
        after, _ = arriving.parts(seed)
        old = after[: len(before)]
        moved.append((old != before).mean())
        back.append(((before == TEST) & (old == TRAIN)).mean())
        seen.append(((before != TEST) & (old == TEST)).sum() / (after == TEST).sum())
        before = after
    return [size, *off, np.mean(moved), max(moved), np.mean(back), np.mean(seen)]


def main(kinds: list[str]) -> None:
    print(HEAD)
    for kind in kinds:
        for count, classes in (*SIZES, *MORE.get(kind, ())):
            draws = max(2, min(100, PICTURES // count))
            table = np.array([steps(kind, count, classes, seed) for seed in range(draws)])
            size, test, valid, mean, _, back, seen = table.mean(0)
            print(
                f"| {kind} | {count:,} | {classes} | {size:,.0f} | {test:.1%} | {valid:.1%} "
                f"| {mean:.2%} | {table[:, 4].max():.1%} | {back:.3%} | {seen:.2%} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:] or ["single", "near", "groups"])
