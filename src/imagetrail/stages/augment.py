"""Make more of the training images. Reads data/split/train, writes data/augmented."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from imagetrail import augment, inspection, layout, parallel, samples
from imagetrail.augment import Policy
from imagetrail.files import replacing
from imagetrail.params import Section, load
from imagetrail.samples import Images

CHUNK = 2000  # images a worker takes at a time
PAIRS = 20  # shown before and after


class Augment(Section):
    """The `augment` section."""

    copies: int = Field(ge=0)  # new images for each training image
    policy: Policy


@dataclass(frozen=True)
class Job:
    policy: Policy
    start: int
    copy: int
    seed: int


def run() -> dict[str, float]:
    params, seed = load(Augment, "augment"), load(int, "seed")
    train = samples.read(layout.TRAIN)
    augment.build(params.policy, train.images.shape[3])  # a wrong policy is told before any work
    jobs = [Job(params.policy, start, copy, seed) for copy in range(params.copies) for start in range(0, len(train), CHUNK)]
    parents = train.column("id") * params.copies
    index = samples.make_index(
        ids=[f"{parent}+{i // len(train)}" for i, parent in enumerate(parents)],
        labels=np.tile(train.labels, params.copies),
        origin="augmented",
        parents=parents,
        sources=train.column("source") * params.copies,
    )
    samples.write(layout.AUGMENTED, parallel.map(_work, jobs), index, classes=train.classes, shape=train.images.shape[1:])
    _show(layout.artifacts("augment") / "pairs.png", train.images, samples.read(layout.AUGMENTED).images)
    print(f"{len(index)} images from {len(train)}")
    return {"images": len(index)}


def _work(job: Job) -> Images:
    images = samples.read(layout.TRAIN).images[job.start : job.start + CHUNK]
    return np.stack(list(augment.augmented(images, job.policy, first=job.start, copy=job.copy, seed=job.seed)))


def _show(path: Path, before: Images, after: Images) -> None:
    shown = [image for pair in _pairs(before, after) for image in pair] or list(before[:PAIRS])
    with replacing(path) as temporary:
        inspection.contact_sheet(shown).save(temporary, "png")


def _pairs(before: Images, after: Images) -> Iterator[tuple[Images, Images]]:
    """Pictures spread over the whole set, each before its first new version."""
    yield from zip(
        before[:: max(1, len(before) // PAIRS)][:PAIRS], after[:: max(1, len(before) // PAIRS)][:PAIRS], strict=False
    )
