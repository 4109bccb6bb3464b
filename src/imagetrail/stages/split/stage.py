"""Part train, valid and test for good.

Reads data/raw, data/related, data/unknown and what inspect found, writes data/split. A published
test set stays as it is. Pictures equal in every pixel never stand on two sides: they move as one
group, and those that equal a picture of the published test set leave train.
"""

from collections.abc import Iterator, Sequence

from imagetrail.base import paths, samples
from imagetrail.base.errors import UserError
from imagetrail.base.params import load
from imagetrail.base.rng import generator
from imagetrail.base.samples import Images, fingerprint
from imagetrail.data import arrival
from imagetrail.data.params import Data
from imagetrail.data.pictures import Pictures, group_equal
from imagetrail.stages.split import others
from imagetrail.stages.split.params import Split


def run() -> None:
    split, data, seed = load(Split, "split"), load(Data, "data"), load(int, "seed")
    pictures = arrival.read(data)
    fingerprints = _fingerprints(pictures)
    parts, dropped = divide(pictures, group_equal(fingerprints), split, seed)
    for name, chosen in parts.items():
        _write(name, pictures, sorted(chosen), fingerprints, data)
    sizes = ", ".join(f"{len(chosen)} {name}" for name, chosen in parts.items())
    print(f"{sizes}; {dropped} left train because test has the same picture")
    held_out = {fingerprints[i] for part in ("valid", "test") for i in parts[part]}
    others.write_related(pictures.classes, held_out, data, seed)
    others.write_unknown(data, seed)


def _fingerprints(pictures: Pictures) -> list[str | None]:
    """What inspect found for each picture; null for one that is unreadable."""
    table = samples.read_table(paths.FINGERPRINTS)
    if table["source"].to_pylist() != list(pictures.sources):
        raise UserError(f"{paths.FINGERPRINTS} is of other pictures; run `dvc repro`")
    fingerprints: list[str | None] = table["fingerprint"].to_pylist()
    return fingerprints


def divide(
    pictures: Pictures, groups: Sequence[Sequence[int]], split: Split, seed: int
) -> tuple[dict[str, list[int]], int]:
    """Which pictures go where, and how many left train as copies of published test pictures.

    groups: numbers of pictures that are equal in every pixel. Stratified by the label of a
    group's first picture.
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
        if not published:
            parts["test"] += _take(queue, split.test)
        parts["valid"] += _take(queue, split.valid)
        rest = [i for group in queue for i in group]
        parts["train"] += rest[: split.per_class]
    return parts, dropped


def _take(queue: list[Sequence[int]], share: float) -> list[int]:
    """Takes whole groups off the queue: a share of its pictures, and not the last group."""
    count = max(1, round(share * sum(len(group) for group in queue)))
    taken: list[int] = []
    while len(taken) < count and len(queue) > 1:
        taken += queue.pop()
    return taken


def _write(
    name: str,
    pictures: Pictures,
    chosen: Sequence[int],
    fingerprints: Sequence[str | None],
    data: Data,
) -> None:
    sources = [pictures.sources[i] for i in chosen]
    index = samples.make_index(
        ids=[f"{data.name}/{source}" for source in sources],
        labels=pictures.labels[chosen],
        origin="real",
        sources=sources,
        fingerprints=[fingerprints[i] for i in chosen],
    )
    images = _decoded(pictures, chosen, fingerprints, data)
    folder = paths.SPLIT / name
    samples.write(folder, images, index, classes=pictures.classes, shape=data.shape)


def _decoded(
    pictures: Pictures, chosen: Sequence[int], fingerprints: Sequence[str | None], data: Data
) -> Iterator[Images]:
    """Raises UserError for a picture that is not what inspect saw."""
    for i, image in zip(chosen, pictures.readable(chosen, data.target), strict=True):
        if fingerprint(image) != fingerprints[i]:
            raise UserError(f"{pictures.sources[i]} is not what inspect saw; run `dvc repro`")
        yield image[None]
