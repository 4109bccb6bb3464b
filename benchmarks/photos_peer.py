"""What the scripts of photos.py's peers share; any Python runs it, with its standard library alone.

A script is given a folder with train, valid and test, each of class folders, a seed, a size in
pixels and so many minutes. It prints as JSON the seconds that it took from the files to a trained
model, and the class it says each picture of test is of.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Task:
    folder: Path
    seed: int
    size: int
    minutes: float

    @property
    def classes(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "train").iterdir())

    def files(self, part: str) -> list[Path]:
        return sorted((self.folder / part).glob("*/*"))

    def labels(self, part: str) -> list[int]:
        return [self.classes.index(file.parent.name) for file in self.files(part)]

    def epochs(self, usual: int, *, steps: int, batch_size: int) -> int:
        """So many, or as many more as make so many steps."""
        each = -(-len(self.files("train")) // batch_size)
        return max(usual, -(-steps // each))

    def within(self, epochs: int, seconds: float) -> int:
        """So many epochs of so many seconds each, or as many as the minutes allow."""
        return max(1, min(epochs, int(self.minutes * 60 / seconds)))


def given() -> Task:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("size", type=int)
    parser.add_argument("minutes", type=float)
    return Task(**vars(parser.parse_args()))


def report(seconds: float, answers: Iterable[int], classes: Sequence[str], **facts: object) -> None:
    """answers: positions in `classes`, in the order of the files of test."""
    named = [classes[answer] for answer in answers]
    print(json.dumps({"seconds": seconds, "answers": named, **facts}))
