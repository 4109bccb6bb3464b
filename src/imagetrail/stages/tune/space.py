"""The search space: fields of the recipe, each with its choices, checked before any training."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    PlainValidator,
    SerializeAsAny,
    TypeAdapter,
    model_validator,
)

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives
from imagetrail.base.params import Section
from imagetrail.training.recipe import Recipe, override


class Range(Section):
    """A searched range of numbers: of whole ones where the field is."""

    low: float = Field(description="smallest value")
    high: float = Field(description="largest value")
    log: bool = Field(default=False, description="draw evenly on a logarithmic scale")

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low >= self.high or (self.log and self.low <= 0):
            found = f"got low {self.low:g} and high {self.high:g}"
            raise ValueError(f"low must be below high, and above 0 if log, {found}")
        return self

    def __contains__(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)


Listed = Annotated[list[Any], Field(min_length=1)]


def _plain(value: Any) -> Any:
    """The form decides the type, where a union of them would put its own tags into each message."""
    kind: Any = Range if isinstance(value, dict | Range) else Listed
    return TypeAdapter(kind).validate_python(value)


Plain = Annotated[list[Any] | Range, PlainValidator(_plain), SerializeAsAny()]


class By(Section):
    """Choices by the value of another field; with a value not named, the field is not searched."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Plain] = Field(init=False)

    by: str = Field(description="the other field, searched as a list")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {str(key): value for key, value in values.items()}  # YAML's `true`

    @property
    def cases(self) -> dict[str, Any]:
        return self.__pydantic_extra__


def _choices(value: Any) -> Any:
    has_cases = isinstance(value, By) or (isinstance(value, dict) and "by" in value)
    return By.model_validate(value) if has_cases else _plain(value)


Choices = Annotated[list[Any] | Range | By, PlainValidator(_choices), SerializeAsAny()]
Space = dict[str, Choices]


def typed(space: Space, recipe: Recipe, where: str) -> Space:
    """The space with every value as the recipe types it.

    Raises UserError, beginning with `where`, for an impossible one.
    """
    if "epochs" in space:
        raise UserError(
            f"{where}.epochs: how long a trial lasts is not searched; it is the last of tune.rungs"
        )
    for field in space:
        if field not in Recipe.model_fields:
            choices = alternatives(field, Recipe.model_fields)
            raise UserError(f"{where}.{field}: recipe has no such field; {choices}")
    return {field: _typed(field, choices, space, recipe, where) for field, choices in space.items()}


def _typed(field: str, choices: Any, space: Space, recipe: Recipe, where: str) -> Any:
    if not isinstance(choices, By):
        return _typed_plain(field, choices, recipe, {}, where)
    where, values = f"{where}.{field}", space.get(choices.by)
    if not isinstance(values, list):
        listed = [name for name, others in space.items() if isinstance(others, list)]
        raise UserError(
            f"{where}.by: {choices.by} is not searched as a list; "
            f"fields that are: {', '.join(listed) or 'none'}"
        )
    by_name = {str(value): value for value in values}
    if unknown := [case for case in choices.cases if case not in by_name]:
        raise UserError(
            f"{where}: {choices.by} is never {', '.join(unknown)}; choose from {', '.join(by_name)}"
        )
    cases = {
        case: _typed_plain(field, plain, recipe, {choices.by: by_name[case]}, f"{where}.{case}")
        for case, plain in choices.cases.items()
    }
    return By(by=choices.by, **cases).model_copy(update=cases)


def _typed_plain(
    field: str, choices: Any, recipe: Recipe, given: dict[str, Any], where: str
) -> Any:
    """A list or a range; numbers of whole-numbered fields become int."""

    def of(value: Any) -> Any:
        return getattr(override(recipe, given | {field: value}, where), field)

    if isinstance(choices, list):
        return [of(value) for value in choices]
    low, high = of(choices.low), of(choices.high)
    if isinstance(low, bool):
        raise UserError(f"{where}.{field}: either true or false, not a range; give a list")
    return choices.model_copy(update={"low": low, "high": high})


def completed(
    known: list[dict[str, Any]], space: Space, recipe: Recipe, where: str
) -> list[dict[str, Any]]:
    """Known-good values of every searched field: the recipe's, then those of `known` over them.

    They are checked as the space is.
    """
    complete = [{field: getattr(recipe, field) for field in space}]
    for number, values in enumerate(known):
        place = f"{where}.{number}"
        if unknown := [field for field in values if field not in space]:
            raise UserError(
                f"{place}: {', '.join(unknown)} is not searched; choose from {', '.join(space)}"
            )
        better = override(recipe, values, place)
        complete.append({field: getattr(better, field) for field in space})
        for name, field, choices in searched(space, complete[-1]):
            if field in values and values[field] not in choices:
                raise UserError(f"{place}.{field}: {values[field]!r} is not in tune.space.{name}")
    return complete


def ends(choices: Any) -> list[Any]:
    """All values of a list; of a range both ends; of cases those of each."""
    if isinstance(choices, By):
        return [value for plain in choices.cases.values() for value in ends(plain)]
    return [choices.low, choices.high] if isinstance(choices, Range) else list(choices)


def searched(space: Space, values: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yields what is searched: the name of the choice, its field, and its list or range.

    Fields without cases come first.
    values: those chosen so far, read again at every step, as a case depends on them.
    """
    for field, choices in space.items():
        if not isinstance(choices, By):
            yield field, field, choices
    for field, choices in space.items():
        if isinstance(choices, By) and (case := str(values[choices.by])) in choices.cases:
            yield f"{field}[{case}]", field, choices.cases[case]
