"""Part train, valid and test for good. Reads data/raw, data/related and artifacts/inspect, writes data/split.

A published test set stays as it is. Pictures equal in every pixel never stand on two sides: they move as one group,
and those that equal a picture of the published test set leave train. A related picture that equals one of valid or
test is left out. A class of a related data set called as one of ours is taken for ours.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imagetrail.base import paths, samples
from imagetrail.base.files import read_json
from imagetrail.base.params import load
from imagetrail.base.rng import generator
from imagetrail.base.samples import Samples, fingerprint
from imagetrail.data import datasets
from imagetrail.data.datasets import Data
from imagetrail.data.pictures import Pictures
from imagetrail.stages.split.params import Split


def run() -> None:
    split, data, seed = load(Split, "split"), load(Data, "data"), load(int, "seed")
    pictures = datasets.read(data.name, paths.RAW / data.name / "files")
    unreadable = {
        fault["source"]
        for fault in read_json(paths.ARTIFACTS / "inspect" / "report.json")["unreadable"]
    }
    readable = [i for i, source in enumerate(pictures.sources) if source not in unreadable]
    groups: dict[str, list[int]] = defaultdict(list)
    for i, image in zip(readable, pictures.readable(readable, data.shape), strict=True):
        groups[fingerprint(image)].append(i)
    fingerprints = {i: print_ for print_, group in groups.items() for i in group}
    parts, dropped = divide(pictures, list(groups.values()), split, seed)
    for name, chosen in parts.items():
        _write(paths.SPLIT / name, pictures, sorted(chosen), data)
    sizes = ", ".join(f"{len(chosen)} {name}" for name, chosen in parts.items())
    print(f"{sizes}; {dropped} left train because test has the same picture")
    held_out = {fingerprints[i] for part in ("valid", "test") for i in parts[part]}
    write_related(load(list[str], "pretrain.related"), pictures.classes, held_out, data, seed)


def divide(
    pictures: Pictures, groups: Sequence[Sequence[int]], split: Split, seed: int
) -> tuple[dict[str, list[int]], int]:
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
        parts["valid"] += _take(
            queue, max(1, round(split.valid * sum(len(group) for group in queue)))
        )
        rest = [i for group in queue for i in group]
        parts["train"] += rest[: split.per_class]
    return parts, dropped


def _take(queue: list[Sequence[int]], count: int) -> list[int]:
    """Takes whole groups off the queue until there are `count` pictures, leaving at least one group."""
    taken: list[int] = []
    while len(taken) < count and len(queue) > 1:
        taken += queue.pop()
    return taken


def write_related(
    names: Sequence[str], ours: Sequence[str], held_out: set[str], data: Data, seed: int
) -> None:
    """Writes what `related_to` finds in the data sets `names`, shuffled; classes that are not ours follow those that are."""
    parts = [related_to(ours, name, held_out, data) for name in names]
    classes = list(dict.fromkeys([*ours, *(kind for part in parts for kind in part.classes)]))
    ids = [identity for part in parts for identity in part.column("id")]
    labels = [classes.index(part.classes[label]) for part in parts for label in part.labels]
    order = generator(seed, "related").permutation(len(ids))
    index = samples.make_index(ids=ids, labels=labels, origin="related", sources=ids).take(order)
    images = np.concatenate(
        [np.empty((0, *data.shape), np.uint8), *(part.images for part in parts)]
    )
    samples.write(
        paths.RELATED,
        (images[order[i : i + 1000]] for i in range(0, len(order), 1000)),
        index,
        classes=classes,
        shape=data.shape,
    )


def related_to(ours: Sequence[str], name: str, held_out: set[str], data: Data) -> Samples:
    """The training pictures of another data set, without those whose fingerprint is in `held_out`.

    A class called as one of `ours` keeps its name, another becomes <data set>/<class>.
    """
    pictures = datasets.read(name, paths.RELATED_FILES / name)
    chosen = [i for i, split in enumerate(pictures.splits) if split != "test"]
    images = np.stack(list(pictures.readable(chosen, data.shape)))
    new = np.array([fingerprint(image) not in held_out for image in images])
    ids = [f"{name}/{pictures.sources[i]}" for i in chosen]
    index = samples.make_index(
        ids=ids, labels=pictures.labels[chosen], origin="related", sources=ids
    )
    shared = ", ".join(kind for kind in pictures.classes if kind in ours) or "none"
    print(
        f"{name}: {new.sum()} related images, {(~new).sum()} left out because valid or test has the same; "
        f"classes taken for ours: {shared}"
    )
    return Samples(
        images[new],
        index.filter(new),
        tuple(kind if kind in ours else f"{name}/{kind}" for kind in pictures.classes),
    )


def _write(folder: Path, pictures: Pictures, chosen: Sequence[int], data: Data) -> None:
    origins = [pictures.sources[i] for i in chosen]
    index = samples.make_index(
        ids=[f"{data.name}/{source}" for source in origins],
        labels=pictures.labels[chosen],
        origin="real",
        sources=origins,
    )
    images = (image[None] for image in pictures.readable(chosen, data.shape))
    samples.write(folder, images, index, classes=pictures.classes, shape=data.shape)
