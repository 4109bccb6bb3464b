"""Make more of the training images. Reads data/split/train, writes data/augmented and artifacts/augment."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from imagetrail import augment, inspection, layout, parallel, samples
from imagetrail.augment import Policy
from imagetrail.errors import UserError
from imagetrail.files import replacing, write_json
from imagetrail.params import Section, load
from imagetrail.recognition import preservation
from imagetrail.rng import generator
from imagetrail.samples import Images, Samples

CHUNK = 4096  # images a worker takes at a time, about
SHOWN = 10  # images on the contact sheet, each in a column
JUDGED = 1200  # images that the transforms are tried on
ALPHA = 0.01  # chance that any transform is called harmful which is not
MOST_BLANK = 0.05  # share of images that may come out blank before the stage gives up

Row = dict[str, Any]  # of labels.json


class Augment(Section):
    """The `augment` section."""

    copies: int = Field(ge=0)  # new images for each training image
    group: int = Field(ge=1)  # images that share a draw of the parameters; 1: each has its own, several times slower
    policy: str | Policy  # a name in PRESETS, or transforms


@dataclass(frozen=True)
class Job:
    """Some groups of a copy."""

    policy: Policy
    numbers: NDArray[np.int64]  # of the images
    group: int
    first: int  # number of its first group
    copy: int
    seed: int


def run() -> dict[str, float]:
    params, seed = load(Augment, "augment"), load(int, "seed")
    train = samples.read(layout.TRAIN)
    policy, folder = augment.resolve(params.policy), layout.artifacts("augment")
    augment.build(policy, train.images.shape[1:])  # a wrong policy is told before any work
    judged = _judge(policy, train, seed) if params.copies else []
    write_json(folder / "labels.json", judged)
    orders = make(train, policy, copies=params.copies, group=params.group, seed=seed, judged=judged)
    _show(folder / "pairs.png", policy, train, orders, seed)
    print(f"{params.copies * len(train)} images from {len(train)}")
    return {"images": params.copies * len(train)}


def make(
    train: Samples, policy: Policy, *, copies: int, group: int, seed: int, judged: Sequence[Row] = ()
) -> list[NDArray[np.int64]]:
    """Writes data/augmented; returns for each copy which images of train it has, in its order."""
    # in a random order, so that the images of a group have nothing but their draw in common
    orders = [generator(seed, "groups", copy).permutation(len(train)) for copy in range(copies)]
    parents = train.index.take(np.concatenate([np.empty(0, np.int64), *orders]))
    ids = parents["id"].to_pylist()
    index = samples.make_index(
        ids=[f"{parent}+{i // len(train)}" for i, parent in enumerate(ids)],
        labels=parents["label"].to_numpy(),
        origin="augmented",
        parents=ids,
        sources=parents["source"].to_pylist(),
    )
    made = _visible(parallel.map(_work, _jobs(policy, orders, group, seed)), len(index), judged)
    samples.write(layout.AUGMENTED, made, index, classes=train.classes, shape=train.images.shape[1:])
    return orders


def _jobs(policy: Policy, orders: list[NDArray[np.int64]], group: int, seed: int) -> Iterator[Job]:
    size = group * max(1, CHUNK // group)
    for copy, order in enumerate(orders):
        for start in range(0, len(order), size):
            yield Job(policy, order[start : start + size], group, start // group, copy, seed)


def _work(job: Job) -> tuple[Images, int]:
    """New images, and how many of them came out blank and were replaced with the original."""
    images = samples.read(layout.TRAIN).gather(job.numbers)
    transform = augment.build(job.policy, images.shape[1:])
    made = augment.draw(transform, images, group=job.group, seed=job.seed, copy=job.copy, first=job.first)
    blank = _blank(made) & ~_blank(images)
    made[blank] = images[blank]
    return made, int(blank.sum())


def _blank(images: Images) -> NDArray[np.bool_]:
    """Which images are the same everywhere."""
    pixels = images.reshape(len(images), -1)
    same: NDArray[np.bool_] = pixels.max(1) == pixels.min(1)
    return same


def _visible(made: Iterable[tuple[Images, int]], total: int, judged: Sequence[Row]) -> Iterator[Images]:
    """The images; raises UserError if too many came out blank."""
    blank = 0
    for images, more in made:
        blank += more
        if blank > MOST_BLANK * total:
            alone = ", ".join(f"{row['transform']} {row['blank']} of {row['images']}" for row in judged)
            raise UserError(f"{augment.HERE} leaves nothing to see of over {MOST_BLANK:.0%} of the images (alone: {alone})")
        yield images
    if blank:
        print(f"{blank} images came out blank: the original is in their place")


def _judge(policy: Policy, train: Samples, seed: int) -> list[Row]:
    """Tries each transform alone: are its images still recognised, and does learning them harm?"""
    if len(np.unique(train.labels)) < 2:
        return []
    alone = list(augment.alone(policy))
    rows = list(parallel.map(partial(_try, seed=seed), alone))
    for row in rows:
        # of several transforms (Bonferroni)
        row["harmful"] = row["after"] < row["before"] and row["p"] < ALPHA / len(rows)
        harm = f"; harmful: learning it too blurs the classes, margin {row['margin']:+.3f}" if row["harmful"] else ""
        print(
            f"{row['transform']}: of {row['images']} images {row['before']:.1%} are recognised, changed {row['after']:.1%}; "
            f"{row['lost']} lost, most of {row['worst_class']} ({row['worst_lost']:.0%}){harm}"
        )
    return rows


def _try(line: Policy, seed: int) -> Row:
    """The row of labels.json for a policy of one transform."""
    train = samples.read(layout.TRAIN)
    chosen = np.sort(generator(seed, "judged").permutation(len(train))[:JUDGED])
    images, labels = train.gather(chosen), train.labels[chosen]
    changed = augment.draw(augment.build(line, images.shape[1:]), images, group=1, seed=seed, copy=-1)
    found = asdict(preservation(images, changed, labels))
    ((name, arguments),) = line[0].items()
    found["worst_class"] = train.classes[np.unique(labels)[found["worst_class"]]]
    blank = int((_blank(changed) & ~_blank(images)).sum())
    rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in found.items()}
    return {"transform": name, "arguments": arguments, "images": len(images), "blank": blank} | rounded


def _show(path: Path, policy: Policy, train: Samples, orders: list[NDArray[np.int64]], seed: int) -> None:
    """A row of originals, one for each transform alone, and one of what the stage wrote."""
    chosen = _spread(train.labels)
    images = train.gather(chosen)
    rows = [("original", images)]
    for line in augment.alone(policy):
        transform = augment.build(line, images.shape[1:])
        rows.append((next(iter(line[0])), augment.draw(transform, images, group=1, seed=seed, copy=-2)))
    if orders:
        rows.append(("all together", samples.read(layout.AUGMENTED).gather(np.argsort(orders[0])[chosen])))
    titles, shown = zip(*rows, strict=True)
    with replacing(path) as temporary:
        inspection.contact_sheet(np.concatenate(shown), len(images), titles=titles).save(temporary, "png")


def _spread(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of up to SHOWN images, of as many classes as there are."""
    rank = np.zeros(len(labels), np.int64)  # of an image within its class
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    return np.sort(np.lexsort((labels, rank))[:SHOWN])
