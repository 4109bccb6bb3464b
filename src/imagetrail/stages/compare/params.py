"""The section of params.yaml that is the compare stage's."""

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from imagetrail.base.params import Section

# The set that judges remedies, and its arms beside one for each: +<remedy>.
REMEDIES, REAL, ALL = "remedies", "real", "all"


def _named(name: str) -> str:
    if not name.strip():
        raise ValueError(f"a set or an arm needs a name, got {name!r}")
    return name


Name = Annotated[str, AfterValidator(_named)]


class Length(Section):
    """How much each training of a set takes."""

    epochs: int = Field(ge=1)
    images: int | None = Field(ge=2)  # train on so many, drawn anew for each seed; null: all


class Remedies(Length):
    """What may help where data are scarce: fields of the recipe that can be off, at 0 or false."""

    tried: dict[
        str, bool | int | float
    ]  # field: the value to try where search and recipe have it off


class Set(Length):
    """Arms to compare with one another."""

    reference: str  # the arm that the others are compared to
    arms: dict[Name, dict[str, Any]] = Field(
        min_length=2
    )  # name: fields of the recipe that differ from the reference's

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> "Set":
        if self.reference not in self.arms:
            raise ValueError(
                f"reference must be one of the arms {', '.join(self.arms)}, got {self.reference!r}"
            )
        return self


class Compare(Section):
    """The `compare` section."""

    renamed: ClassVar = {"cures": "remedies"}

    seeds: int = Field(ge=3)  # trainings an arm
    remedies: Remedies
    sets: dict[Name, Set] = Field(min_length=1)

    @model_validator(mode="after")
    def _sets_have_names_of_their_own(self) -> "Compare":
        if REMEDIES in self.sets:
            raise ValueError(
                f"sets: {REMEDIES!r} is the set that compare.{REMEDIES} makes; got another of that name"
            )
        return self
