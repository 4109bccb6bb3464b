"""Typed access to `params.yaml`: a component gets its own section; a mistake is one clear line."""

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, ClassVar, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from imagetrail.base.errors import UserError, missing
from imagetrail.base.files import refuse_endless
from imagetrail.base.lookup import alternatives, nearest

T = TypeVar("T")


def _none_or_several(folds: int) -> int:
    if folds == 1:
        raise ValueError("one fold leaves nothing to learn from: 2 or more, or 0 for none")
    return folds


MARKUP = set("<>|\"'`\\")  # of HTML, Markdown, or what quotes a name in a query
FORMULAS = ("=", "@")  # how a spreadsheet's begin


def _shown(name: str) -> str:
    """A name goes into tables, reports and MLflow."""
    plain = name.isprintable() and name == name.strip() and not MARKUP & set(name)
    if not (0 < len(name) <= 100 and plain) or name.startswith(FORMULAS):
        raise ValueError(
            "a name of at most 100 characters is wanted, without spaces around it, control "
            f"characters or {' '.join(sorted(MARKUP))}, and not begun as a formula, got {name!r}"
        )
    return name


Name = Annotated[str, AfterValidator(_shown)]
MOST = 1_000_000_000  # images: more than anybody has
Count = Annotated[int, Field(ge=1, le=MOST)]
Few = Annotated[int, Field(ge=2, le=MOST)]  # to learn from
Milliseconds = Annotated[float, Field(gt=0, le=1_000_000)]
Megabytes = Annotated[float, Field(gt=0, le=1_000_000)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]  # of a training
Folds = Annotated[int, Field(ge=0, le=100), AfterValidator(_none_or_several)]
SHOWN = 20  # faults of a value, at most
Place = tuple[str | int, ...]  # the keys that lead to a value


class _Short(Repr):
    """Values as messages show them: an alias of YAML can stand for a billion."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 100

    def repr_int(self, x: int, _: int) -> str:
        return repr(x) if abs(x) < 10**30 else "so large a number"


SHORT = _Short()


class Section(BaseModel):
    """A frozen group of params; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}  # what a key was called before: its name now

    def check(self, path: Path) -> None:
        """Raises UserError for what is right in itself, but not beside the rest of `path`."""


def load(kind: type[T], key: str, path: Path = Path("params.yaml")) -> T:
    """The value under `key` (dots lead inside) of a YAML file, checked as a `kind`.

    Raises UserError for anything wrong.
    """
    value: Any = read_yaml(path)
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            near = nearest(part, map(str, value)) if isinstance(value, dict) else ""
            raise UserError(f"{path}: {key} is missing" + (f"; is it {near!r}?" if near else ""))
        value = value[part]
    return check(kind, value, f"{path}: {key}")


def at(values: Any, key: str, default: Any = None) -> Any:
    """The value at a dotted key; `default` where there is none."""
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return default
        values = values[part]
    return values


def read_yaml(path: Path) -> dict[str, Any]:
    refuse_endless(path)
    try:
        value = deepcopy(_parsed(path.read_text()))
    except FileNotFoundError:
        if path.name != "params.yaml":  # a stage makes it
            raise missing(path) from None
        raise UserError(
            f"{path}: no such file; run imagetrail in the folder that has {path.name}"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # no UTF-8, a 31st of April, a number for pages
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: brackets within brackets without end") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected `key: value` lines")
    return value


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """A file is asked for section by section, and PyYAML takes a while over it."""
    return yaml.safe_load(text)


def check(kind: type[T], value: Any, where: str) -> T:
    """`value` as a `kind`; each fault is a line of one UserError that begins with `where`."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        lines = _lines(kind, error.errors())
        if len(lines) > SHOWN:
            lines[SHOWN:] = [f": {len(lines) - SHOWN} more faults like these"]
        raise UserError("\n".join(where + line for line in lines)) from None


def _lines(kind: type[Any], faults: list[Any]) -> list[str]:
    """Unknown keys first; a missing key that one of them was meant to be is no second fault."""
    missing = [fault["loc"] for fault in faults if fault["type"] == "missing"]
    lines = []
    for fault in faults:
        if fault["type"] == "extra_forbidden":
            line, meant = _unknown(kind, fault["loc"], missing)
            lines.append(line)
            missing = [place for place in missing if place != meant]
    lines += [f"{_path(place)}: missing" for place in missing]
    keys = ("extra_forbidden", "missing")
    return lines + [_wrong_value(fault) for fault in faults if fault["type"] not in keys]


def _unknown(kind: type[Any], place: Place, missing: list[Place]) -> tuple[str, Place]:
    """The line for an unknown key, and the place of the key that was meant."""
    *inside, name = place
    # A section within another does not say which keys it knows: those that it lacks are offered.
    lacking = [str(other[-1]) for other in missing if other[:-1] == place[:-1]]
    known = lacking if inside else list(getattr(kind, "model_fields", lacking))
    renamed: dict[Any, str] = {} if inside else getattr(kind, "renamed", {})
    if name in renamed:
        return f"{_path(place)}: is called {renamed[name]} now", (renamed[name],)
    choices = f"; {alternatives(str(name), known)}" if known else ""
    return f"{_path(place)}: unknown key{choices}", (*inside, nearest(str(name), known))


def _wrong_value(fault: Any) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    whole = isinstance(fault.get("ctx", {}).get("error"), UserError)  # it says what is wrong itself
    value = SHORT.repr(fault["input"])
    shown = whole or "got" in message or value in message
    return f"{_path(fault['loc'])}: {message}" + ("" if shown else f", not {value}")


def _path(place: Place) -> str:
    return "".join(f".{part}" for part in place)
