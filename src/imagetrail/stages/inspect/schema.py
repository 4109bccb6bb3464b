"""What pictures are expected to be: kept in Git as data/schema.json, held against new ones."""

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_json, write_json
from imagetrail.stages.inspect.inspection import Inspection

REMEDY = "`imagetrail schema` accepts what inspect saw"


class Schema(BaseModel):
    """What a data set is like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str  # name of the data set
    classes: tuple[str, ...]
    modes: tuple[str, ...]  # as Pillow calls them: L, RGB
    formats: tuple[str, ...]  # JPEG, PNG; empty: the pixels were in no picture files
    width: tuple[int, int]  # the least and the most
    height: tuple[int, int]
    brightness: tuple[float, float]  # mean of the pictures' means, and their standard deviation


def describe(found: Inspection, name: str) -> Schema:
    """The schema of the pictures that were looked at, of which one at least is readable."""
    readable = np.flatnonzero(found.readable)

    def words(kind: str) -> tuple[str, ...]:
        return tuple(sorted(set(found.words[kind][readable]) - {""}))

    def span(kind: str) -> tuple[int, int]:
        values = found.numbers[kind][readable]
        return int(values.min()), int(values.max())

    means = found.numbers["mean"][readable]
    return Schema(
        data=name,
        classes=found.pictures.classes,
        modes=words("mode"),
        formats=words("format"),
        width=span("width"),
        height=span("height"),
        brightness=(round(float(means.mean()), 2), round(float(means.std()), 2)),
    )


def write(schema: Schema | None, path: Path = paths.SCHEMA) -> None:
    """Writes what is expected from now on; None: nothing yet."""
    write_json(path, schema.model_dump(mode="json") if schema else {})


def read(path: Path = paths.SCHEMA) -> Schema | None:
    """What is expected; None: nothing yet."""
    remedy = f"run `git checkout {path}`, or {REMEDY}"
    content = read_json(path, remedy=remedy) if path.exists() else {}
    return _checked(content, path) if content else None


def accept() -> Schema:
    """Expects from now on what inspect saw at last."""
    seen = _checked(read_json(paths.INSPECTION)["schema"], paths.INSPECTION)
    write(seen)
    return seen


def _checked(content: Any, path: Path) -> Schema:
    try:
        return Schema.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise UserError(f"{path}: {where}: {fault['msg'].lower()}; {REMEDY}") from None
