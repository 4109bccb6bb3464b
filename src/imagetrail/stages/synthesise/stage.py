"""Draw new images of every class.

Reads data/split/train, writes data/synthetic and artifacts/synthesise.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from imagetrail.base import paths, samples
from imagetrail.base.files import replacing, write_json
from imagetrail.base.params import load
from imagetrail.base.samples import Images
from imagetrail.base.terminal import say, track
from imagetrail.plots import sheets
from imagetrail.stages.synthesise import synthesis
from imagetrail.stages.synthesise.params import Synthesise
from imagetrail.stages.synthesise.synthesis import Drawn

SHOWN = 10  # images a class on the contact sheet


def run() -> dict[str, float]:
    params, seed = load(Synthesise, "synthesise"), load(int, "seed")
    train = samples.read(paths.TRAIN)
    drawn = [Drawn(train.images[:0], 0, 0) for _ in train.classes]
    quality: dict[str, float | str] = {"method": params.method, "images": 0, "near_copies": 0}
    if params.per_class:
        parts = synthesis.divide(train, seed)
        sieve = synthesis.build_sieve(parts, seed)
        drawing = synthesis.synthesise(parts, sieve, **params.model_dump(), seed=seed)
        drawn = list(track(drawing, len(train.classes), "drawing", "classes"))
        quality |= synthesis.counts(drawn, sieve) | synthesis.judge(drawn, parts, sieve, seed=seed)
    _write(drawn, train.classes)
    folder = paths.artifacts("synthesise")
    write_json(folder / "quality.json", quality)
    with replacing(folder / "samples.png") as temporary:
        _sheet([new.images for new in drawn]).save(temporary, "png")
    say(_report(drawn, train.classes, params.per_class))
    return {"images": sum(len(new.images) for new in drawn)}


def _write(drawn: Sequence[Drawn], classes: tuple[str, ...]) -> None:
    whole = synthesis.gathered(drawn, classes)
    samples.write(
        paths.SYNTHETIC, whole.chunks(), whole.index, classes=classes, shape=whole.images.shape[1:]
    )


def _sheet(drawn: Sequence[Images]) -> Image.Image:
    """A row a class, white where there are fewer images."""
    white = np.full((SHOWN, *drawn[0].shape[1:]), 255, np.uint8)
    rows = [np.concatenate([images[:SHOWN], white])[:SHOWN] for images in drawn]
    return sheets.contact_sheet(list(np.concatenate(rows)), columns=SHOWN)


def _report(drawn: Sequence[Drawn], classes: Sequence[str], wanted: int) -> str:
    made = [len(new.images) for new in drawn]
    copied, rejected = sum(new.copied for new in drawn), sum(new.rejected for new in drawn)
    short = ", ".join(
        f"{name} {count}" for name, count in zip(classes, made, strict=True) if count < wanted
    )
    line = (
        f"{sum(made)} images; dropped: {copied} near copies of training images, "
        f"{rejected} taken for another class"
    )
    return line + (f"; fewer than {wanted} of: {short}" if short else "")
