"""What `compare` compares: sets of arms, each a recipe, made out from params.yaml."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imagetrail.base.errors import UserError
from imagetrail.stages.compare.params import ALL, CURES, REAL, Compare, Cures, Set
from imagetrail.training.recipe import Recipe, override


@dataclass(frozen=True)
class Contest:
    """A set whose recipes are made out."""

    name: str
    reference: str
    arms: dict[str, Recipe]
    epochs: int
    images: int | None


def made_out(
    compare: Compare, base: Recipe, where: str, *, prepared: Callable[[str], bool]
) -> list[Contest]:
    """Every set with its recipes. Raises UserError, beginning with `where`, for a wrong field or value.

    prepared: whether the images or weights that a cure needs are there; cures without are left out.
    """
    sets = {f"sets.{name}": arms for name, arms in compare.sets.items()}
    tried = {cure: value for cure, value in compare.cures.tried.items() if prepared(cure)}
    if tried:
        sets = {CURES: _cures(compare.cures, tried, base, f"{where}.{CURES}.tried")} | sets
    return [_contest(key, arms, base, where) for key, arms in sets.items()]


def _cures(cures: Cures, tried: dict[str, Any], base: Recipe, where: str) -> Set:
    checked = override(base, tried, where)
    for cure in tried:
        if not getattr(checked, cure) or isinstance(getattr(checked, cure), str):
            raise UserError(
                f"{where}.{cure}: a cure is a number above 0 or true, not {getattr(checked, cure)!r}"
            )
    on = {cure: getattr(base, cure) or getattr(checked, cure) for cure in tried}
    arms = {REAL: {cure: type(value)(0) for cure, value in on.items()}}
    arms |= {f"+{cure}": {cure: value} for cure, value in on.items()}
    arms |= {ALL: on} if len(on) > 1 else {}
    return Set(epochs=cures.epochs, images=cures.images, reference=REAL, arms=arms)


def _contest(key: str, arms: Set, base: Recipe, where: str) -> Contest:
    def recipe(beginning: Recipe, arm: str) -> Recipe:
        return override(beginning, arms.arms[arm], f"{where}.{key}.arms.{arm}")

    # few images, to be quick, are not to become many again by repetition
    repeat_to = min(base.repeat_to, arms.images or base.repeat_to)
    reference = recipe(
        base.model_copy(update={"epochs": arms.epochs, "repeat_to": repeat_to}), arms.reference
    )
    recipes = {arm: recipe(reference, arm) for arm in arms.arms}
    return Contest(key.removeprefix("sets."), arms.reference, recipes, arms.epochs, arms.images)
