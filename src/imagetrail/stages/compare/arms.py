"""What `compare` compares: sets of arms, each a recipe, made out from params.yaml."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from imagetrail.base.errors import UserError
from imagetrail.base.params import Section
from imagetrail.training import data
from imagetrail.training.recipe import Recipe

CURES, REAL, ALL = "cures", "real", "all"  # the set that judges cures, and its arms beside one for each: +<cure>


def _named(name: str) -> str:
    if not name.strip():
        raise ValueError(f"a set or an arm needs a name, got {name!r}")
    return name


Name = Annotated[str, AfterValidator(_named)]


class Length(Section):
    """How much each training of a set takes."""

    epochs: int = Field(ge=1)
    images: int | None = Field(ge=2)  # train on so many, drawn anew for each seed; null: all


class Cures(Length):
    """What may help where data are scarce: fields of the recipe that can be off, at 0 or false."""

    tried: dict[str, bool | int | float]  # field: the value to try where search and recipe have it off


class Set(Length):
    """Arms to compare with one another."""

    reference: str  # the arm that the others are compared to
    arms: dict[Name, dict[str, Any]] = Field(min_length=2)  # name: fields of the recipe that differ from the reference's

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> "Set":
        if self.reference not in self.arms:
            raise ValueError(f"reference must be one of the arms {', '.join(self.arms)}, got {self.reference!r}")
        return self


class Compare(Section):
    """The `compare` section."""

    seeds: int = Field(ge=3)  # trainings an arm
    cures: Cures
    sets: dict[Name, Set] = Field(min_length=1)

    @model_validator(mode="after")
    def _sets_have_names_of_their_own(self) -> "Compare":
        if CURES in self.sets:
            raise ValueError(f"sets: {CURES!r} is the set that compare.{CURES} makes; got another of that name")
        return self


@dataclass(frozen=True)
class Contest:
    """A set whose recipes are made out."""

    name: str
    reference: str
    arms: dict[str, Recipe]
    epochs: int
    images: int | None


def made_out(compare: Compare, base: Recipe, where: str, *, prepared: Callable[[str], bool]) -> list[Contest]:
    """Every set with its recipes. Raises UserError, beginning with `where`, for a wrong field or value.

    prepared: whether the images or weights that a cure needs are there; cures without are left out.
    """
    sets = {f"sets.{name}": arms for name, arms in compare.sets.items()}
    tried = {cure: value for cure, value in compare.cures.tried.items() if prepared(cure)}
    if tried:
        sets = {CURES: _cures(compare.cures, tried, base, f"{where}.{CURES}.tried")} | sets
    return [_contest(key, arms, base, where) for key, arms in sets.items()]


def _cures(cures: Cures, tried: dict[str, Any], base: Recipe, where: str) -> Set:
    checked = data.override(base, tried, where)
    for cure in tried:
        if not getattr(checked, cure) or isinstance(getattr(checked, cure), str):
            raise UserError(f"{where}.{cure}: a cure is a number above 0 or true, not {getattr(checked, cure)!r}")
    on = {cure: getattr(base, cure) or getattr(checked, cure) for cure in tried}
    arms = {REAL: {cure: type(value)(0) for cure, value in on.items()}}
    arms |= {f"+{cure}": {cure: value} for cure, value in on.items()}
    arms |= {ALL: on} if len(on) > 1 else {}
    return Set(epochs=cures.epochs, images=cures.images, reference=REAL, arms=arms)


def _contest(key: str, arms: Set, base: Recipe, where: str) -> Contest:
    def recipe(beginning: Recipe, arm: str) -> Recipe:
        return data.override(beginning, arms.arms[arm], f"{where}.{key}.arms.{arm}")

    # few images, to be quick, are not to become many again by repetition
    repeat_to = min(base.repeat_to, arms.images or base.repeat_to)
    reference = recipe(base.model_copy(update={"epochs": arms.epochs, "repeat_to": repeat_to}), arms.reference)
    recipes = {arm: recipe(reference, arm) for arm in arms.arms}
    return Contest(key.removeprefix("sets."), arms.reference, recipes, arms.epochs, arms.images)
