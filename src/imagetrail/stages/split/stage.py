"""Part train, valid and test for good.

Reads data/raw, data/related, data/unknown and what inspect found, writes data/split. Published
valid and test sets stay as they are. Pictures that are equal, near duplicates or of one group never
stand on two sides: they move as one, and those that belong with published ones of test leave train
and valid, with those of valid train.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from imagetrail.base import paths, samples
from imagetrail.base.errors import UserError
from imagetrail.base.files import write_csv
from imagetrail.base.params import load
from imagetrail.base.samples import Images, fingerprint
from imagetrail.base.terminal import say, track
from imagetrail.data import arrival
from imagetrail.data.params import Data
from imagetrail.data.pictures import Pictures
from imagetrail.stages.split import account, others, units
from imagetrail.stages.split.coverage import PARTS
from imagetrail.stages.split.division import divide
from imagetrail.stages.split.params import Split

LEFT_OUT = paths.SPLIT / "left_out.csv"
SHOWN = 3  # pictures left out that are named on the terminal


def run() -> None:
    split, data, seed = load(Split, "split"), load(Data, "data"), load(int, "seed")
    pictures = arrival.read(data)
    fingerprints, near = _inspected(pictures)
    found = units.find(fingerprints, near, pictures.groups or [""] * len(pictures))
    division = divide(pictures, found, split, seed)
    lines = account.check(pictures, found, division)
    columns = {"group": found.groups, **pictures.columns}
    chosen = {name: np.flatnonzero(division.parts == part) for part, name in enumerate(PARTS)}
    for name, numbers in chosen.items():
        _write(name, pictures, numbers.tolist(), fingerprints, columns, data)
    rows = account.left_out(pictures, found, division, fingerprints)
    write_csv(LEFT_OUT, rows, columns=account.LEFT_OUT_COLUMNS)
    sizes = ", ".join(f"{len(numbers)} {name}" for name, numbers in chosen.items())
    say(*pictures.notes, sizes, *_told(rows), *lines)
    # those of train too: a cross-validation judges them
    judged = {fingerprints[i] for numbers in chosen.values() for i in numbers}
    others.write_related(pictures.classes, judged, data, seed)
    others.write_unknown(data, seed)


def _inspected(pictures: Pictures) -> tuple[list[str | None], list[int | None]]:
    """What inspect found: each picture's fingerprint, null if unreadable, and near duplicates."""
    table = samples.read_table(paths.FINGERPRINTS)
    if table["source"].to_pylist() != list(pictures.sources):
        raise UserError(f"{paths.FINGERPRINTS} is of other pictures; run `dvc repro`")
    return table["fingerprint"].to_pylist(), table["near"].to_pylist()


def _told(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    """How many pictures have left each part, with the first of them."""
    for part in PARTS:
        gone = [row for row in rows if row["split"] == part]
        if gone:
            shown = "; ".join(f"{row['source']} {row['reason']}" for row in gone[:SHOWN])
            more = f"; all are in {LEFT_OUT}" if gone[SHOWN:] else ""
            yield f"{len(gone)} pictures left {part}: {shown}{more}"


def _write(
    name: str,
    pictures: Pictures,
    chosen: Sequence[int],
    fingerprints: Sequence[str | None],
    columns: Mapping[str, Sequence[Any]],
    data: Data,
) -> None:
    sources = [pictures.sources[i] for i in chosen]
    index = samples.make_index(
        ids=[f"{data.name}/{source}" for source in sources],
        labels=pictures.labels[chosen],
        origin="real",
        sources=sources,
        fingerprints=[fingerprints[i] for i in chosen],
        columns={
            column: [values[i] if column in samples.NUMBERS else _text(values[i]) for i in chosen]
            for column, values in columns.items()
        },
    )
    images = _decoded(pictures, chosen, fingerprints, data)
    folder = paths.SPLIT / name
    samples.write(folder, images, index, classes=pictures.classes, shape=data.shape)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _decoded(
    pictures: Pictures, chosen: Sequence[int], fingerprints: Sequence[str | None], data: Data
) -> Iterator[Images]:
    """Raises UserError for a picture that is not what inspect saw."""
    decoded = zip(chosen, pictures.readable(chosen, data.target), strict=True)
    for i, image in track(decoded, len(chosen), "decoding", "pictures"):
        if fingerprint(image) != fingerprints[i]:
            raise UserError(f"{pictures.sources[i]} is not what inspect saw; run `dvc repro`")
        yield image[None]
