"""How often the test images have judged a challenger, and what that leaves of `alpha`.

A test set that has judged many wears out: one of them passes by luck. So `alpha` is spent over all
challengers of a test set: the n-th is judged at alpha / (n · (n + 1)), and these shares add up to
no more than alpha, however many there will be (alpha spending: Lan and DeMets,
doi:10.1093/biomet/70.3.659). The next share does not depend on how the earlier ones were judged.

A row a reading, kept from run to run in artifacts/gate/readings.csv; those of other machines are
beside it, where `imagetrail recall` has put them. An earlier reading counts if
half of today's images were in it, so new test images bring a new beginning once they are as many as
the old; by content, so that another name or label changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagetrail.base.errors import damaged
from imagetrail.base.files import read_csv, write_csv
from imagetrail.base.paths import ARTIFACTS

FILE = ARTIFACTS / "gate" / "readings.csv"
OTHERS = Path(".imagetrail/readings.csv")  # by `release.readings`
DUE = 10  # readings: the next ones need a gain 1.5 times as large as the first did
SAMPLE = 64  # images of a reading that are kept, to tell how many are still there
LETTERS = 12  # of a fingerprint that are kept


@dataclass(frozen=True)
class Reading:
    """A challenger judged beside a champion on test images."""

    challenger: str  # sha256 of the ONNX file
    champion: str
    test: str  # content hash of all test images and their labels
    sample: str  # beginnings of the fingerprints of some of the images that were judged
    images: int  # so many they were


def spent(alpha: float, number: int) -> float:
    """The chance of error that the reading number 1, 2, … may have."""
    return alpha / (number * (number + 1))


def reading(challenger: str, champion: str, test: str, fingerprints: Sequence[str]) -> Reading:
    """fingerprints: of the images that are judged."""
    short = sorted({name[:LETTERS] for name in fingerprints})  # hashes: the first are any
    return Reading(challenger, champion, test, " ".join(short[:SAMPLE]), len(fingerprints))


def read() -> list[Reading]:
    """All readings so far, oldest first; none without a file. Raises UserError if one is no such.

    A reading is of test images, not of a checkout: Git has the file, and DVC leaves it there.
    """
    others = _rows(OTHERS, "remove it, and run `imagetrail recall`")
    return list(
        dict.fromkeys([*others, *_rows(FILE, f"bring it back with `git checkout -- {FILE}`")])
    )


def _rows(file: Path, remedy: str) -> list[Reading]:
    if not file.exists():
        return []
    names = ("challenger", "champion", "test", "sample")
    try:
        return [
            Reading(**{name: row[name] for name in names}, images=int(row["images"]))
            for row in read_csv(file)
        ]
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(file, error, remedy=remedy) from None


def write(found: Sequence[Reading]) -> None:
    """Writes the file, with each reading's number among all."""
    rows = [{"number": number, **vars(one)} for number, one in enumerate(found, 1)]
    write_csv(FILE, rows, columns=["number", *Reading.__annotations__])


def counted(new: Reading, found: Sequence[Reading], fingerprints: Sequence[str]) -> list[Reading]:
    """All up to the new one that count beside it, itself the last; it may be there already."""
    before = found[: found.index(new)] if new in found else found
    today = {name[:LETTERS] for name in fingerprints}
    return [*(one for one in before if _covers(one, today, len(fingerprints))), new]


def _covers(one: Reading, today: set[str], images: int) -> bool:
    """Whether at least half of today's images were in that reading, as its sample tells."""
    sample = one.sample.split()
    there = sum(name in today for name in sample) / max(1, len(sample))
    return there * one.images >= images / 2
