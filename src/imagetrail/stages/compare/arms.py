"""What `compare` compares: sets of arms in params.yaml, and the recipes that they stand for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import Field, model_validator

from imagetrail.base.errors import UserError
from imagetrail.base.params import Epochs, Few, Name, Section
from imagetrail.training.recipe import Recipe, override

# The sets that judge remedies, with an arm +<remedy> for each. They begin with real images alone;
# learning in all layers begins with the frozen network.
REMEDIES, REAL, ALL = "remedies", "real", "all"
TUNING, FROZEN, FINE_TUNE = "fine_tuning", "frozen", "fine_tune"
JUDGES = (REMEDIES, TUNING)


class Length(Section):
    """How much each training of a set takes."""

    epochs: Epochs = Field(description="epochs of each training")
    images: Few | None = Field(description="train on so many, drawn anew for each seed; null: all")


class Remedies(Length):
    """What may help where data are scarce."""

    tried: dict[str, bool | int | float] = Field(
        description="field of the recipe that can be off, at 0 or false: the value to try where "
        "search and recipe have it off"
    )


class Set(Length):
    """Arms to compare with one another."""

    reference: str = Field(description="the arm that the others are compared to")
    arms: dict[Name, dict[str, Any]] = Field(
        min_length=2, description="name: fields of the recipe that differ from the reference's"
    )

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> "Set":
        if self.reference not in self.arms:
            raise ValueError(
                f"reference must be one of the arms {', '.join(self.arms)}, got {self.reference!r}"
            )
        return self


@dataclass(frozen=True)
class Contest:
    """A set with its recipes."""

    name: str
    reference: str
    arms: dict[str, Recipe]
    epochs: int
    images: int | None


def resolve(
    sets: Mapping[str, Set],
    remedies: Remedies,
    base: Recipe,
    where: str,
    *,
    prepared: Callable[[str], bool],
) -> list[Contest]:
    """Every set with its recipes. Raises UserError, beginning with `where`, for a wrong field.

    prepared: whether there are the images or weights that a remedy needs; else it is left out.
    """
    named = {f"sets.{name}": arms for name, arms in sets.items()}
    tried = {remedy: value for remedy, value in remedies.tried.items() if prepared(remedy)}
    place = f"{where}.{REMEDIES}.tried"
    if tuned := {remedy: tried.pop(remedy) for remedy in (FINE_TUNE,) if remedy in tried}:
        arms = _remedies(
            remedies, tuned, base, place, reference=FROZEN, always={"pretrained": True}
        )
        named = {TUNING: arms} | named
    if tried:
        named = {REMEDIES: _remedies(remedies, tried, base, place, reference=REAL)} | named
    return [_contest(key, arms, base, where) for key, arms in named.items()]


def _remedies(
    remedies: Remedies,
    tried: dict[str, Any],
    base: Recipe,
    where: str,
    *,
    reference: str,
    always: Mapping[str, Any] = MappingProxyType({}),
) -> Set:
    """always: fields that all of its arms have."""
    checked = override(base, tried, where)
    for remedy in tried:
        value = getattr(checked, remedy)
        if not value or isinstance(value, str):
            raise UserError(
                f"{where}.{remedy}: a remedy is a number above 0 or true, not {value!r}"
            )
    on = {remedy: getattr(base, remedy) or getattr(checked, remedy) for remedy in tried}
    arms = {reference: {remedy: type(value)(0) for remedy, value in on.items()} | dict(always)}
    arms |= {f"+{remedy}": {remedy: value} for remedy, value in on.items()}
    arms |= {ALL: on} if len(on) > 1 else {}
    return Set(epochs=remedies.epochs, images=remedies.images, reference=reference, arms=arms)


def _contest(key: str, arms: Set, base: Recipe, where: str) -> Contest:
    def recipe(beginning: Recipe, arm: str) -> Recipe:
        return override(beginning, arms.arms[arm], f"{where}.{key}.arms.{arm}")

    # few images, to be quick, are not to become many again by repetition
    repeat_to = min(base.repeat_to, arms.images or base.repeat_to)
    length = {"epochs": arms.epochs, "repeat_to": repeat_to}
    reference = recipe(base.model_copy(update=length), arms.reference)
    recipes = {arm: recipe(reference, arm) for arm in arms.arms}
    return Contest(key.removeprefix("sets."), arms.reference, recipes, arms.epochs, arms.images)
