"""Typed access to `params.yaml`: a component gets its own section, and a wrong key or value is one clear line."""

from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives

T = TypeVar("T")


class Section(BaseModel):
    """A frozen group of params; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}  # what a key was called before: its name now


def load(kind: type[T], key: str, path: Path = Path("params.yaml")) -> T:
    """The value under `key` (dots lead inside) of a YAML file, checked as a `kind`; raises UserError for anything wrong."""
    value: Any = read_yaml(path)
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"{path}: {key} is missing")
        value = value[part]
    return check(kind, value, f"{path}: {key}")


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; run imagetrail in the folder that has {path.name}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected `key: value` lines")
    return value


def check(kind: type[T], value: Any, where: str) -> T:
    """`value` as a `kind`; every fault found becomes a line of one UserError, each beginning with `where`."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        faults = [_describe(kind, fault) for fault in error.errors()]
        raise UserError("\n".join(f"{where}{fault}" for fault in faults)) from None


def _describe(kind: type[Any], fault: Any) -> str:
    place = "".join(
        f".{part}" for part in fault["loc"] if not str(part).startswith("(")
    )  # tags of a union are not in the file
    if fault["type"] == "extra_forbidden":
        name = str(fault["loc"][-1])
        if len(fault["loc"]) == 1 and name in getattr(kind, "renamed", {}):
            return f"{place}: is called {kind.renamed[name]} now"
        known = getattr(kind, "model_fields", {}) if len(fault["loc"]) == 1 else {}
        return (
            f"{place}: unknown key; {alternatives(name, known)}"
            if known
            else f"{place}: unknown key"
        )
    if fault["type"] == "missing":
        return f"{place}: missing"
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return (
        f"{place}: {message}"
        if "got" in message or repr(fault["input"]) in message
        else f"{place}: {message}, not {fault['input']!r}"
    )
