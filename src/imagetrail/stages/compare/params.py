"""The section of params.yaml that is the compare stage's."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from imagetrail.base.params import Name, Section
from imagetrail.stages.compare.arms import JUDGES, REMEDIES, Remedies, Set, resolve
from imagetrail.training import shares
from imagetrail.training.chosen import default_recipe
from imagetrail.training.recipe import check_size


class Compare(Section):
    """The `compare` section."""

    renamed: ClassVar = {"cures": "remedies"}

    seeds: int = Field(ge=3, le=1000, description="trainings an arm, each with its own seed")
    remedies: Remedies = Field(
        description="what is judged on valid before it enters the final training"
    )
    sets: dict[Name, Set] = Field(min_length=1, description="name: arms to compare")

    @model_validator(mode="after")
    def _sets_have_names_of_their_own(self) -> "Compare":
        for name in self.sets.keys() & JUDGES:
            raise ValueError(
                f"sets: {name!r} is the set that compare.{REMEDIES} makes; got another of that name"
            )
        return self

    def check(self, path: Path) -> None:
        base, prepared = default_recipe(epochs=1, path=path), shares.prepared_by(path)
        where = f"{path}: compare"
        for contest in resolve(self.sets, self.remedies, base, where, prepared=prepared):
            for arm, recipe in contest.arms.items():
                place = f"{where}, set {contest.name}, arm {arm}"
                shares.check(recipe, place, prepared=prepared, base=base)
                if (recipe.model, recipe.enlarge) != (base.model, base.enlarge):
                    check_size(recipe, place, path)
