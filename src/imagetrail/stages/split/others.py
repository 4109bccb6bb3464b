"""Pictures of other data sets, brought to our size: some to learn from, some to be told from ours.

A related picture that equals one of ours is left out. A class of a related data set
called as one of ours is taken for ours; another becomes <data set>/<class>.
"""

import math
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from imagetrail.base import paths, samples
from imagetrail.base.files import read_json
from imagetrail.base.rng import generator
from imagetrail.base.samples import Images, fingerprint
from imagetrail.base.terminal import say
from imagetrail.data import datasets
from imagetrail.data.params import Data
from imagetrail.data.pictures import Pictures

UNKNOWN = 2000  # pictures of another data set that the model is tried on, at most
CHUNK = 16 << 20  # bytes of pictures that are in memory at a time


def write_related(ours: Sequence[str], judged: Set[str | None], data: Data, seed: int) -> None:
    """Writes the related pictures whose fingerprint is not in `judged`, shuffled.

    ours: our classes, which those that are not ours follow.
    """
    classes = list(ours)
    ids: list[str] = []
    labels: list[int] = []
    fingerprints: list[str] = []
    with TemporaryFile(dir=paths.SPLIT) as decoded:  # each once; memory need not hold them all
        for name in _fetched(paths.RELATED_FILES):
            pictures = datasets.read(name, paths.RELATED_FILES / name)
            kinds = [kind if kind in ours else f"{name}/{kind}" for kind in pictures.classes]
            classes += [kind for kind in kinds if kind not in ours]
            numbers = [classes.index(kind) for kind in kinds]
            chosen = [i for i, split in enumerate(pictures.splits) if split != "test"]
            kept = list(_decode(pictures, chosen, judged, data, decoded))
            ids += [f"{name}/{pictures.sources[i]}" for i, _ in kept]
            labels += [numbers[pictures.labels[i]] for i, _ in kept]
            fingerprints += [content for _, content in kept]
            shared = ", ".join(kind for kind in kinds if kind in ours) or "none"
            say(
                f"{name}: {len(kept)} related images, {len(chosen) - len(kept)} left out because "
                f"ours has the same; classes taken for ours: {shared}"
            )
        index = samples.make_index(
            ids=ids, labels=labels, origin="related", sources=ids, fingerprints=fingerprints
        )
        order = generator(seed, "related").permutation(len(ids))
        images = _gathered(decoded, (len(ids), *data.shape), order)
        samples.write(paths.RELATED, images, index.take(order), classes=classes, shape=data.shape)


def _fetched(folder: Path) -> list[str]:
    names: list[str] = read_json(folder / "datasets.json")
    return names


def _decode(
    pictures: Pictures,
    chosen: Sequence[int],
    judged: Set[str | None],
    data: Data,
    file: IO[bytes],
) -> Iterator[tuple[int, str]]:
    """Appends pictures to a file; yields the number and the fingerprint of each."""
    for i, image in zip(chosen, pictures.readable(chosen, data.target), strict=True):
        content = fingerprint(image)
        if content not in judged:
            file.write(image.data)
            yield i, content


def _gathered(
    file: IO[bytes], shape: tuple[int, ...], order: NDArray[np.int64]
) -> Iterator[Images]:
    """The images in a file in another order; a mapping for each chunk lets go of the pages."""
    size = max(1, CHUNK // math.prod(shape[1:]))
    for start in range(0, len(order), size):
        yield np.memmap(file, np.uint8, "r", shape=shape)[order[start : start + size]]


def write_unknown(data: Data, seed: int) -> None:
    """Writes pictures of a data set that is not ours, of its test set if it has one, shuffled."""
    for name in _fetched(paths.UNKNOWN_FILES):
        pictures = datasets.read(name, paths.UNKNOWN_FILES / name)
        test = [i for i, split in enumerate(pictures.splits) if split == "test"]
        pool = test or range(len(pictures))
        chosen = [pool[i] for i in generator(seed, "unknown").permutation(len(pool))[:UNKNOWN]]
        ids = [f"{name}/{pictures.sources[i]}" for i in chosen]
        with TemporaryFile(dir=paths.SPLIT) as decoded:
            kept = list(_decode(pictures, chosen, frozenset(), data, decoded))
            index = samples.make_index(
                ids=ids,
                labels=pictures.labels[chosen],
                origin="unknown",
                sources=ids,
                fingerprints=[content for _, content in kept],
            )
            images = _gathered(decoded, (len(ids), *data.shape), np.arange(len(ids)))
            samples.write(paths.UNKNOWN, images, index, classes=pictures.classes, shape=data.shape)
        return
    nothing = samples.INDEX.empty_table()
    samples.write(paths.UNKNOWN, [], nothing, classes=[], shape=data.shape)
