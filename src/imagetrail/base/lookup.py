"""Look-ups by name whose error lists the names there are."""

import ast
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from pydantic import AfterValidator

from imagetrail.base.errors import UserError

T = TypeVar("T")
MANY = 50  # names, and more, are not all listed


def choose(table: Mapping[str, T], name: str, kind: str) -> T:
    """The entry of `table` called `name`; raises UserError naming the choices, nearest first."""
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}; {alternatives(name, table)}")
    return table[name]


def alternatives(name: str, names: Iterable[str]) -> str:
    """The rest of a sentence that offers `names`, first the likely meaning of a misspelt `name`."""
    valid = sorted(names)
    likely = nearest(name, valid)
    hint = f"did you mean {likely!r}? " if likely else ""
    if len(valid) > MANY:
        few = ", ".join(get_close_matches(name, valid, n=8, cutoff=0))
        return f"{hint}the nearest of {len(valid)} are {few}"
    return f"{hint}choose from {', '.join(valid)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """The one of `names` that a misspelt `name` was likely meant to be; empty if none is near.

    Of several, one with the same first letter, which is seldom the wrong one.
    """
    close = get_close_matches(name, sorted(names))
    return max(close, key=lambda other: other[:1] == name[:1], default="")


def one_of(table: str, kind: str) -> AfterValidator:
    """Validates a param whose type is Annotated with it: a name in a table, as `module:TABLE`."""

    def check(name: str) -> str:
        return choose(dict.fromkeys(names_in(table), name), name, kind)

    return AfterValidator(check)


@cache
def names_in(table: str) -> tuple[str, ...]:
    """The keys of an annotated dict literal, named as `module:TABLE`.

    They are read from its source, because to import the module may load torch, for seconds, and
    params are checked by their names alone.
    """
    module, variable = table.split(":")
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == variable:
            assert isinstance(node.value, ast.Dict)
            return tuple(ast.literal_eval(key) for key in node.value.keys if key)
    raise AssertionError(f"{table} is not an annotated dict literal")
