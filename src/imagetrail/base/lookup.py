"""Look-ups by name whose error lists the names there are."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from pydantic import AfterValidator

from imagetrail.base.errors import UserError

T = TypeVar("T")
MANY = 40  # names, and more, are not all listed


def choose(table: Mapping[str, T], name: str, kind: str) -> T:
    """The entry of `table` called `name`; raises UserError naming the choices, nearest first."""
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}; {alternatives(name, table)}")
    return table[name]


def alternatives(name: str, names: Iterable[str]) -> str:
    """The rest of a sentence that offers `names`, with the likely meaning of a misspelt `name` first."""
    valid = sorted(names)
    near = get_close_matches(name, valid, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    if len(valid) > MANY:
        return f"{hint}the nearest of {len(valid)} are {', '.join(get_close_matches(name, valid, n=8, cutoff=0))}"
    return f"{hint}choose from {', '.join(valid)}"


def one_of(table: Mapping[str, object], kind: str) -> AfterValidator:
    """Validates a param whose type is Annotated with it: its value must be a name in `table`."""

    def check(name: str) -> str:
        choose(table, name, kind)
        return name

    return AfterValidator(check)
