"""The section of params.yaml that is the tune stage's."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from imagetrail.base import paths
from imagetrail.base.lookup import one_of
from imagetrail.base.params import Count, Epochs, Section
from imagetrail.stages.tune.space import Space, completed, ends, typed
from imagetrail.training import shares
from imagetrail.training.chosen import default_recipe
from imagetrail.training.recipe import Recipe, check_size

Cost = Annotated[str, one_of("imagetrail.stages.tune.costs:COSTS", "cost")]
Bound = Annotated[float, Field(gt=0, le=1e18)]
Sampler = Annotated[str, one_of("imagetrail.stages.tune.study:SAMPLERS", "sampler")]
Pruner = Annotated[str, one_of("imagetrail.stages.tune.study:PRUNERS", "pruner")]


class Tune(Section):
    """The `tune` section: how long to search, how, and where."""

    trials: int = Field(ge=1, le=100_000, description="trials to begin, at most")
    batch: int = Field(
        ge=1, le=10_000, description="trials begun together; workers beyond 2 want more"
    )
    rungs: list[Epochs] = Field(
        min_length=1,
        description="epochs after which the weaker trials stop; the last is a whole trial",
    )
    epochs: Count | None = Field(
        default=None,
        description="begin no more trials once so many epochs are spent; null: no bound",
    )
    images: Count | None = Field(description="train on so many images; null: all")
    sampler: Sampler = Field(default="tpe", description="how values are drawn")
    pruner: Pruner = Field(
        default="successive_halving", description="how it is decided which trials are the weaker"
    )
    known: list[dict[str, Any]] = Field(
        default_factory=list,
        description="good values of searched fields, tried first, after those of the recipe",
    )
    limits: dict[Cost, Bound] = Field(
        default_factory=dict, description="cost: its bound; what is beyond is not trained"
    )
    minimise: Cost | None = Field(
        default=None,
        description="a cost as second objective; then no trial is pruned, as the accurate would "
        "oust the cheap",
    )
    space: Space = Field(
        min_length=1,
        description="field of the recipe: a list of choices, a range, or cases by another field",
    )

    @model_validator(mode="after")
    def _rungs_rise(self) -> "Tune":
        if self.rungs != sorted(set(self.rungs)):
            raise ValueError(f"rungs must be rising numbers of epochs, got {self.rungs}")
        return self

    @property
    def objectives(self) -> int:
        return 2 if self.minimise else 1

    @property
    def costs(self) -> list[str]:
        """The costs that it must know of each trial."""
        return sorted({*self.limits, *([self.minimise] if self.minimise else [])})

    def check(self, path: Path) -> None:
        recipe = default_recipe(epochs=self.rungs[-1], path=path)
        space = resolve(self, recipe, f"{path}: tune").space
        largest = with_largest_shares(recipe, space)
        prepared = shares.prepared_by(path)
        shares.check(largest, f"{path}: tune.space", prepared=prepared, base=recipe)
        for name in ("model", "enlarge"):
            for value in ends(space.get(name, [])):
                changed = recipe.model_copy(update={name: value})
                check_size(changed, f"{path}: tune.space.{name}", path)


def resolve(tune: Tune, recipe: Recipe, where: str) -> Tune:
    """The search with its space and known-good values typed as the recipe has them.

    Raises UserError, beginning with `where`, for any fault.
    """
    space = typed(tune.space, recipe, f"{where}.space")
    return tune.model_copy(
        update={"space": space, "known": completed(tune.known, space, recipe, f"{where}.known")}
    )


def with_largest_shares(recipe: Recipe, space: Space) -> Recipe:
    """The recipe that takes of each kind of images the largest share that is searched."""
    largest = {field: max(ends(space[field])) for field in paths.SHARES if field in space}
    return recipe.model_copy(update=largest)
