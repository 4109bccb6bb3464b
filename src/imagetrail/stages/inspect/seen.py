"""What the findings are looked for in, and what one says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.words import count_of
from imagetrail.data.decoding import Shape
from imagetrail.data.pictures import Pictures, group_equal
from imagetrail.stages.inspect.inspection import Inspection
from imagetrail.stages.inspect.params import Inspect
from imagetrail.stages.inspect.schema import Schema

Numbers = NDArray[np.int64]
Group = tuple[int, ...]  # numbers of pictures that belong together


@dataclass(frozen=True)
class Seen:
    """The pictures, what was measured of them, and what was expected."""

    found: Inspection
    near: Numbers  # group of near duplicates, -1: none
    limits: Inspect
    shape: Shape
    expected: Schema | None  # null: nothing to hold against
    schema: Schema  # of these pictures

    @property
    def pictures(self) -> Pictures:
        return self.found.pictures

    @cached_property
    def readable(self) -> Numbers:
        return np.flatnonzero(self.found.readable)

    @cached_property
    def exact_groups(self) -> list[Group]:
        equal = group_equal(self.found.fingerprints)
        return [tuple(group) for group in equal if len(group) > 1]

    @cached_property
    def near_groups(self) -> list[Group]:
        order = np.argsort(self.near, kind="stable")
        order = order[self.near[order] >= 0]
        parts = np.split(order, np.flatnonzero(np.diff(self.near[order])) + 1) if len(order) else []
        return [tuple(part.tolist()) for part in parts]

    def word(self, i: int) -> str:
        """The class of a picture."""
        return self.pictures.classes[int(self.pictures.labels[i])]


@dataclass(frozen=True)
class Found:
    """That there is something, how often, and where."""

    text: str
    number: int
    groups: Sequence[Group] = ()  # pictures, those that belong together as one
    harmless: bool = False  # in all likelihood: a note, whatever its kind is otherwise


def singly(which: Iterable[int], text: str) -> Found | None:
    """Pictures that each have the fault that `text` names; None if there are none."""
    groups = [(int(i),) for i in which]
    return (
        Found(f"{count_of(len(groups), 'picture')}: {text}", len(groups), groups)
        if groups
        else None
    )


def listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
