"""Make more of the training images.

Reads data/split/train, writes data/augmented and artifacts/augment.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from imagetrail.base import paths, samples
from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing, write_json
from imagetrail.base.params import load
from imagetrail.base.rng import generator
from imagetrail.base.samples import Images, Samples
from imagetrail.base.terminal import say, track
from imagetrail.base.words import percent
from imagetrail.compute import parallel
from imagetrail.plots import sheets
from imagetrail.stages.augment import policy as augment
from imagetrail.stages.augment.label_preservation import preservation
from imagetrail.stages.augment.params import Augment
from imagetrail.stages.augment.presets import Policy

CHUNK = 4096  # images a worker takes at a time, about
SHOWN = 10  # images on the contact sheet, each in a column
JUDGED = 1200  # images that the transforms are tried on
ALPHA = 0.01  # chance that any transform is called harmful which is not
DRAWS = 1000  # of a copy at least, or one for each image: a small set gets its variety
MOST_BLANK = 0.05  # share of images that may come out blank before the stage gives up

Row = dict[str, Any]  # of labels.json


@dataclass(frozen=True)
class Job:
    """Some groups of a copy."""

    policy: Policy
    numbers: NDArray[np.int64]  # of the images
    group: int
    first: int  # number of its first group
    copy: int
    seed: int
    file: Path
    place: int  # of the first image in the file


def run() -> dict[str, float]:
    params, seed = load(Augment, "augment"), load(int, "seed")
    train = samples.read(paths.TRAIN)
    policy, folder = augment.resolve(params.policy), paths.artifacts("augment")
    augment.build(policy, train.images.shape[1:])  # a wrong policy is refused before any work
    judged = _judge(policy, train, seed) if params.copies else []
    write_json(folder / "labels.json", judged)
    group = min(params.group, max(1, len(train) // DRAWS))
    orders, blank = make(train, policy, copies=params.copies, group=group, seed=seed)
    _show(folder / "pairs.png", policy, train, orders, seed)
    say(f"{params.copies * len(train)} images from {len(train)}, {group} by a draw")
    if blank:
        say(f"{blank} images came out blank: their originals are in their place")
    return {"images": params.copies * len(train)}


def make(
    train: Samples, policy: Policy, *, copies: int, group: int, seed: int
) -> tuple[list[NDArray[np.int64]], int]:
    """Writes data/augmented.

    Returns for each copy which images of train it has, in its order, and how many came out blank
    and were replaced.
    """
    # in a random order, so that the images of a group have nothing but their draw in common
    orders = [generator(seed, "groups", copy).permutation(len(train)) for copy in range(copies)]
    with samples.filling(
        paths.AUGMENTED, _index(train, orders), classes=train.classes, shape=train.images.shape[1:]
    ) as file:
        blank = 0
        jobs = list(_jobs(policy, orders, group, seed, file))
        for more in track(parallel.map(_work, jobs), len(jobs), "augmenting", "parts"):
            blank += more
            if blank > MOST_BLANK * copies * len(train):
                raise UserError(
                    f"{augment.WHERE} leaves nothing to see of over "
                    f"{percent(MOST_BLANK, 0)} of the images"
                )
    return orders, blank


def _index(train: Samples, orders: list[NDArray[np.int64]]) -> pa.Table:
    parts = [train.index.take(order) for order in orders] or [train.index[:0]]
    copied = enumerate(parts)
    ids = [f"{parent}+{copy}" for copy, part in copied for parent in part["id"].to_pylist()]
    whole = pa.concat_tables(parts)
    columns = {
        "id": ids,
        "label": whole["label"],
        "origin": ["augmented"] * len(ids),
        "parent": whole["id"],
        "source": whole["source"],
        "fingerprint": [None] * len(ids),
    }
    index = pa.table(columns, samples.INDEX)
    for name in samples.NUMBERS:  # as of the image that it was made from
        if name in whole.column_names:
            index = index.append_column(name, whole[name])
    return index


def _jobs(
    policy: Policy, orders: list[NDArray[np.int64]], group: int, seed: int, file: Path
) -> Iterator[Job]:
    size = group * max(1, CHUNK // group)
    for copy, order in enumerate(orders):
        for start in range(0, len(order), size):
            yield Job(
                policy=policy,
                numbers=order[start : start + size],
                group=group,
                first=start // group,
                copy=copy,
                seed=seed,
                file=file,
                place=copy * len(order) + start,
            )


def _work(job: Job) -> int:
    """Stores new images; returns how many came out blank and are replaced by their originals."""
    images = samples.read(paths.TRAIN, columns=["label"]).gather(job.numbers)
    transform = augment.build(job.policy, images.shape[1:])
    made = augment.draw(
        transform, images, group=job.group, seed=job.seed, copy=job.copy, first=job.first
    )
    blank = _blank(made) & ~_blank(images)
    made[blank] = images[blank]
    samples.store(job.file, job.place, made)
    return int(blank.sum())


def _blank(images: Images) -> NDArray[np.bool_]:
    """Which images are the same everywhere."""
    pixels = images.reshape(len(images), -1)
    same: NDArray[np.bool_] = pixels.max(1) == pixels.min(1)
    return same


def _judge(policy: Policy, train: Samples, seed: int) -> list[Row]:
    """Tries each transform alone: are its images still recognised, and does learning them harm?"""
    if len(np.unique(train.labels)) < 2:
        return []
    alone = list(augment.alone(policy))
    tried = parallel.map(partial(_try, seed=seed), alone)
    rows = list(track(tried, len(alone), "trying transforms", "transforms"))
    for row in rows:
        # Bonferroni: one of many transforms may look harmful by chance
        row["harmful"] = row["after"] < row["before"] and row["p"] < ALPHA / len(rows)
        harm = f"; harmful: learning it too blurs the classes, margin {row['margin']:+.3f}"
        before, after = percent(row["before"], 1), percent(row["after"], 1)
        say(
            f"{row['transform']}: of {row['images']} images {before} are recognised, "
            f"changed {after}; {row['lost']} lost, most of {row['worst_class']} "
            f"({percent(row['worst_lost'], 0)}){harm if row['harmful'] else ''}"
        )
    return rows


def _try(line: Policy, seed: int) -> Row:
    """The row of labels.json for a policy of one transform."""
    train = samples.read(paths.TRAIN)
    chosen = np.sort(generator(seed, "judged").permutation(len(train))[:JUDGED])
    images, labels = train.gather(chosen), train.labels[chosen]
    transform = augment.build(line, images.shape[1:])
    changed = augment.draw(transform, images, group=1, seed=seed, copy=-1)
    found = asdict(preservation(images, changed, labels))
    ((name, arguments),) = line[0].items()
    found["worst_class"] = train.classes[np.unique(labels)[found["worst_class"]]]
    for key, value in found.items():
        found[key] = round(value, 6) if isinstance(value, float) else value
    blank = int((_blank(changed) & ~_blank(images)).sum())
    row = {"transform": name, "arguments": arguments, "images": len(images), "blank": blank}
    return row | found


def _show(
    path: Path, policy: Policy, train: Samples, orders: list[NDArray[np.int64]], seed: int
) -> None:
    """A row of originals, one for each transform alone, and one of what the stage wrote."""
    chosen = _spread(train.labels)
    images = train.gather(chosen)
    rows = [("original", images)]
    for line in augment.alone(policy):
        transform = augment.build(line, images.shape[1:])
        changed = augment.draw(transform, images, group=1, seed=seed, copy=-2)
        rows.append((next(iter(line[0])), changed))
    if orders:
        places = np.argsort(orders[0])[chosen]
        rows.append(("all together", samples.read(paths.AUGMENTED).gather(places)))
    titles, shown = zip(*rows, strict=True)
    sheet = sheets.contact_sheet(np.concatenate(shown), len(images), titles=titles)
    with replacing(path) as temporary:
        sheet.save(temporary, "png")


def _spread(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of up to SHOWN images, of as many classes as there are."""
    rank = np.zeros(len(labels), np.int64)  # of an image within its class
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    return np.sort(np.lexsort((labels, rank))[:SHOWN])
