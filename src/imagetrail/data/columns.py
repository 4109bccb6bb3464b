"""What the columns of a table say of each picture, by their names."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from imagetrail.base import units
from imagetrail.base.errors import UserError
from imagetrail.base.samples import CERTAINTY, INDEX, WEIGHT
from imagetrail.base.words import printable
from imagetrail.data.labels import split_of
from imagetrail.data.tables import Column, Table

ROLES = {  # what a column says, by its name in any case
    "path": ("path", "file", "file_name", "filename", "image"),
    "label": ("label", "class", "category", "target"),
    "split": ("split",),
    WEIGHT: (WEIGHT,),
    CERTAINTY: (CERTAINTY,),
}
NUMBERS: dict[str, tuple[Callable[[float], bool], str]] = {  # what is allowed, and what it means
    WEIGHT: (
        lambda weight: 0 <= weight < math.inf,
        "how much a picture counts in training: 0 or more, such as 0.5",
    ),
    CERTAINTY: (
        lambda certainty: 0 < certainty <= 1,
        "how sure the label is: over 0 and at most 1, such as 0.75",
    ),
}
GROUPS = ("group", "group_id", "patient", "patient_id", "subject", "subject_id", "person")


@dataclass(frozen=True, eq=False)
class Marked:
    """A table whose columns are understood; every sequence has an entry a row."""

    table: Table
    paths: Column  # empty where the pictures are in the table
    labels: Column
    splits: Column  # train, valid, test or ""
    groups: Mapping[str, Column]  # those that keep pictures together, by their names in GROUPS
    grouped_by: Sequence[str]  # the same columns' names as they are written
    numbers: Mapping[str, Sequence[float]]  # of NUMBERS, those that there are
    own: Mapping[str, Column]  # the user's other columns

    def group(self, row: int) -> str:
        """What the columns of groups say of a row."""
        return ", ".join(column[row] or "" for column in self.groups.values())


Row = tuple[Marked, int]


def understand(table: Table, shown: str) -> Marked:
    """Raises UserError where a column is missing, means two things or has an empty value."""
    roles = {role: _column(table, role, shown) for role in ROLES}
    if table.pictures:
        del roles["path"]  # a name beside the picture is the user's own column
    for role in ("path", "label"):
        if roles.get(role) == "":
            there = printable(", ".join(table.columns))
            wanted = f"call one of {there} {ROLES[role][0]!r}" if there else "its header is empty"
            raise UserError(f"{shown}: {table.name} has no column for the {role}; {wanted}")
    values = {role: table.columns[name] for role, name in roles.items() if name}
    for role in values.keys() & {"path", "label"}:
        _refuse_empty(table, roles[role], values[role], shown)
    grouping = [_column(table, role, shown) for role in GROUPS]
    grouping = [name for name in grouping if name]
    # a patient may be a slice as well
    used = {*roles.values(), *(name for name in grouping if _plain(name) == "group")}
    return Marked(
        table,
        values.get("path", ()),
        values["label"],
        _splits(table, values.get("split"), shown),
        {
            _plain(name): [value and value.strip() for value in table.columns[name]]
            for name in grouping
        },
        grouping,
        _numbers(table, roles, shown),
        {_free(name): values for name, values in table.columns.items() if name not in used},
    )


def _column(table: Table, role: str, shown: str) -> str:
    """The column that has a role, "" if none has."""
    found = [name for name in table.columns if _plain(name) in ROLES.get(role, (role,))]
    if role == "label" and not found:
        return table.label
    if len(found) > 1 and not (role == "path" and table.pictures):
        fault = f"{' and '.join(map(repr, found))} may both be the {role}"
        raise UserError(f"{shown}: {table.name}: {fault}; rename the one that is not")
    return found[0] if found else ""


def _plain(name: str) -> str:
    return name.strip().lower()


def together(rows: Sequence[Row]) -> list[str]:
    """A name a row, equal for those that share a value of a column of groups; "" for none.

    They may share it by way of other rows: a patient of two batches ties these. Where there are
    several columns, a name begins with that of its column, as patient 7 need not be in batch 7.
    """
    columns: dict[str, list[str | None]] = {}
    for name in GROUPS:
        if any(name in m.groups for m in dict.fromkeys(m for m, _ in rows)):
            said = (m.groups[name][row] if name in m.groups else None for m, row in rows)
            columns[name] = [value or None for value in said]
    numbers = units.connected(list(columns.values()), len(rows)).tolist()
    found: dict[int, str] = {}
    for name, column in columns.items():
        for number, value in zip(numbers, column, strict=True):
            if value is not None:
                found.setdefault(number, f"{name} {value}" if len(columns) > 1 else value)
    return [found.get(number, "") for number in numbers]


def _free(name: str) -> str:
    """A name that no column of an index has."""
    return f"own_{name}" if name in INDEX.names else name


def _refuse_empty(table: Table, name: str, values: Column, shown: str) -> None:
    empty = [row for row, value in enumerate(values) if value is None or not value.strip()]
    if empty:
        more = f", and {len(empty) - 1} more" if len(empty) > 1 else ""
        remedy = "fill it in or remove the row"
        raise UserError(f"{shown}: {table.where(empty[0])}: {name!r} is empty{more}; {remedy}")


def _numbers(table: Table, roles: Mapping[str, str], shown: str) -> dict[str, list[float]]:
    """Of NUMBERS those that the table has. Raises UserError for one that may not be."""
    found: dict[str, list[float]] = {}
    for role, (allowed, wanted) in NUMBERS.items():
        if name := roles[role]:
            values = [_number(text) for text in table.columns[name]]
            for row, value in enumerate(values):
                if not allowed(value):
                    fault = f"{table.columns[name][row]!r} is no {role}; {name!r} is {wanted}"
                    remedy = "if it is another thing, rename it"
                    raise UserError(f"{shown}: {table.where(row)}: {fault}; {remedy}")
            found[role] = values
    return found


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def _splits(table: Table, values: Column | None, shown: str) -> Column:
    """By the column, or by the name of the file: train-00000-of-00002.parquet."""
    if values is None:
        return [split_of(re.split(r"[-_.]", PurePosixPath(table.name).name)[0])] * len(table)
    known = {value: split_of(value or "") for value in set(values)}
    wrong = {value for value, split in known.items() if value and value.strip() and not split}
    if wrong:
        row = next(row for row, value in enumerate(values) if value in wrong)
        wanted = "train, valid or test is wanted"
        raise UserError(f"{shown}: {table.where(row)}: no split is {values[row]!r}; {wanted}")
    return [known[value] for value in values]
