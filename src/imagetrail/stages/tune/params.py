"""The section of params.yaml that is the tune stage's."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from imagetrail.base.lookup import one_of
from imagetrail.base.params import Section
from imagetrail.stages.tune.costs import COSTS
from imagetrail.stages.tune.space import Space, completed, typed
from imagetrail.stages.tune.study import PRUNERS, SAMPLERS
from imagetrail.training.recipe import Recipe

Cost = Annotated[str, one_of(COSTS, "cost")]


class Tune(Section):
    """The `tune` section: how long to search, how, and where."""

    trials: int = Field(ge=1)
    batch: int = Field(ge=1)  # trials begun together
    rungs: list[int] = Field(
        min_length=1
    )  # epochs at which the weaker are pruned; the last is a trial's full length
    epochs: int | None = Field(
        default=None, ge=1
    )  # no batch begins once so many are spent; null: no bound
    images: int | None = Field(ge=1)  # train on so many images; null: all
    sampler: Annotated[str, one_of(SAMPLERS, "sampler")] = "tpe"
    pruner: Annotated[str, one_of(PRUNERS, "pruner")] = "successive_halving"
    known: list[dict[str, Any]] = Field(
        default_factory=list
    )  # good values of searched fields, tried first
    limits: dict[Cost, float] = Field(
        default_factory=dict
    )  # cost: its bound; what is beyond is not trained
    minimise: Cost | None = (
        None  # a second objective; then nothing is pruned, as the accurate would oust the cheap
    )
    space: Space = Field(min_length=1)

    @model_validator(mode="after")
    def _rungs_rise(self) -> "Tune":
        if self.rungs != sorted(set(self.rungs)) or self.rungs[0] < 1:
            raise ValueError(f"rungs must be rising numbers of epochs, got {self.rungs}")
        return self

    @property
    def objectives(self) -> int:
        return 2 if self.minimise else 1

    @property
    def costs(self) -> list[str]:
        """The costs that it must know of each trial."""
        return sorted({*self.limits, *([self.minimise] if self.minimise else [])})


def resolve(tune: Tune, recipe: Recipe, where: str) -> Tune:
    """The search with its choices as the recipe types them; raises UserError for any fault."""
    space = typed(tune.space, recipe, f"{where}.space")
    known = completed(tune.known, space, recipe, f"{where}.known")
    return tune.model_copy(update={"space": space, "known": known})
