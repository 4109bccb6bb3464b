"""Part train, valid and test for good. Reads data/raw and artifacts/inspect, writes data/split.

A published test set stays as it is. Pictures equal in every pixel never stand on two sides: they move as one group,
and those that equal a picture of the published test set leave train.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from imagetrail import datasets, layout, samples
from imagetrail.datasets import Data
from imagetrail.params import Section, load
from imagetrail.pictures import Pictures
from imagetrail.rng import generator
from imagetrail.samples import fingerprint


class Split(Section):
    """The `split` section: shares of the pictures."""

    valid: float = Field(gt=0, lt=0.5)  # of the pictures that are not in test
    test: float = Field(gt=0, lt=0.5)  # where no test set is published
    per_class: int | None = Field(default=None, ge=1)  # keep at most so many training images a class; null: all


def run() -> None:
    split, data, seed = load(Split, "split"), load(Data, "data"), load(int, "seed")
    pictures = datasets.read(data.name, layout.RAW / data.name / "files")
    unreadable = {
        fault["source"] for fault in json.loads((layout.ARTIFACTS / "inspect" / "report.json").read_text())["unreadable"]
    }
    readable = [i for i, source in enumerate(pictures.sources) if source not in unreadable]
    groups: dict[str, list[int]] = defaultdict(list)
    for i, image in zip(readable, pictures.readable(readable, data.shape), strict=True):
        groups[fingerprint(image)].append(i)
    parts, dropped = divide(pictures, list(groups.values()), split, seed)
    for name, chosen in parts.items():
        _write(layout.SPLIT / name, pictures, sorted(chosen), data)
    sizes = ", ".join(f"{len(chosen)} {name}" for name, chosen in parts.items())
    print(f"{sizes}; {dropped} left train because test has the same picture")


def divide(pictures: Pictures, groups: Sequence[Sequence[int]], split: Split, seed: int) -> tuple[dict[str, list[int]], int]:
    """Which pictures go where, and how many were dropped from train as copies of published test pictures.

    groups: numbers of pictures that are equal in every pixel. Stratified by the label of a group's first picture.
    """
    published = "test" in pictures.splits
    test = [i for group in groups for i in group if pictures.splits[i] == "test"]
    free = [group for group in groups if not any(pictures.splits[i] == "test" for i in group)]
    dropped = sum(len(group) for group in groups) - len(test) - sum(len(group) for group in free)
    parts: dict[str, list[int]] = {"train": [], "valid": [], "test": test}
    for label in range(len(pictures.classes)):
        rng = generator(seed, "split", label)
        mine = [group for group in free if pictures.labels[group[0]] == label]
        queue = [mine[i] for i in rng.permutation(len(mine))]
        count = sum(len(group) for group in queue)
        if not published:
            parts["test"] += _take(queue, max(1, round(split.test * count)))
        parts["valid"] += _take(queue, max(1, round(split.valid * sum(len(group) for group in queue))))
        rest = [i for group in queue for i in group]
        parts["train"] += rest[: split.per_class]
    return parts, dropped


def _take(queue: list[Sequence[int]], count: int) -> list[int]:
    """Takes whole groups off the queue until there are `count` pictures, leaving at least one group."""
    taken: list[int] = []
    while len(taken) < count and len(queue) > 1:
        taken += queue.pop()
    return taken


def _write(folder: Path, pictures: Pictures, chosen: Sequence[int], data: Data) -> None:
    origins = [pictures.sources[i] for i in chosen]
    index = samples.make_index(
        ids=[f"{data.name}/{source}" for source in origins], labels=pictures.labels[chosen], origin="real", sources=origins
    )
    images = (image[None] for image in pictures.readable(chosen, data.shape))
    samples.write(folder, images, index, classes=pictures.classes, shape=data.shape)
