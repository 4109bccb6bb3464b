"""A model before the gate, and the champion as one that answers to the challenger's classes."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imagetrail.metrics.scores import Floats


@dataclass(frozen=True)
class Candidate:
    """A model before the gate."""

    sha256: str  # of its ONNX file
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # H, W, C
    probabilities: Floats  # N×K, of today's test images; empty if it cannot answer to them
    seen: NDArray[np.bool_]  # N: which of them it was trained on
    data: str  # content hash of its training images
    file: str = ""  # the ONNX file
    corruption_error: float | None = None
    megabytes: float = 0.0
    ms: float | None = None


@dataclass(frozen=True)
class Classes:
    """Which classes challenger and champion know."""

    both: tuple[str, ...]  # in the challenger's order
    new: tuple[str, ...]  # only the challenger's
    gone: tuple[str, ...]  # only the champion's

    @property
    def words(self) -> str:
        """How they differ; empty if they do not."""
        found = [f"only the champion knows {', '.join(self.gone)}"] if self.gone else []
        found += [f"only the challenger knows {', '.join(self.new)}"] if self.new else []
        return "; ".join(found)


def compared(challenger: Candidate, champion: Candidate) -> Classes:
    known = set(champion.classes)
    return Classes(
        both=tuple(name for name in challenger.classes if name in known),
        new=tuple(name for name in challenger.classes if name not in known),
        gone=tuple(name for name in champion.classes if name not in challenger.classes),
    )


def aligned(champion: Candidate, challenger: Candidate, classes: Classes) -> Candidate:
    """The champion with the challenger's classes, of whose new ones it takes no image.

    Behind them those that are gone: it may still answer these, and is wrong.
    """
    if champion.classes == challenger.classes:
        return champion
    columns = [*challenger.classes, *classes.gone]
    probabilities = np.zeros((len(champion.probabilities), len(columns)))
    for number, name in enumerate(champion.classes):
        probabilities[:, columns.index(name)] = champion.probabilities[:, number]
    return replace(champion, classes=tuple(columns), probabilities=probabilities)


def other_task(challenger: Candidate, champion: Candidate) -> str:
    """Why the two cannot be compared; empty if they can."""
    override = "; `imagetrail promote --force REASON` decides"
    if champion.shape != challenger.shape:
        theirs, ours = ("×".join(map(str, model.shape)) for model in (champion, challenger))
        pictures = f"the champion takes pictures of {theirs}, the challenger of {ours}"
        return f"{pictures}: they cannot be compared{override}"
    if not compared(challenger, champion).both:
        return f"the two know no class in common: they cannot be compared{override}"
    return ""
