"""What `compare` compares: sets of arms, each a recipe, made out from params.yaml."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imagetrail.base.errors import UserError
from imagetrail.stages.compare.params import ALL, REAL, REMEDIES, Compare, Remedies, Set
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

    prepared: whether the images or weights that a remedy needs are there; remedies without are left out.
    """
    sets = {f"sets.{name}": arms for name, arms in compare.sets.items()}
    tried = {remedy: value for remedy, value in compare.remedies.tried.items() if prepared(remedy)}
    if tried:
        sets = {
            REMEDIES: _remedies(compare.remedies, tried, base, f"{where}.{REMEDIES}.tried")
        } | sets
    return [_contest(key, arms, base, where) for key, arms in sets.items()]


def _remedies(remedies: Remedies, tried: dict[str, Any], base: Recipe, where: str) -> Set:
    checked = override(base, tried, where)
    for remedy in tried:
        if not getattr(checked, remedy) or isinstance(getattr(checked, remedy), str):
            raise UserError(
                f"{where}.{remedy}: a remedy is a number above 0 or true, not {getattr(checked, remedy)!r}"
            )
    on = {remedy: getattr(base, remedy) or getattr(checked, remedy) for remedy in tried}
    arms = {REAL: {remedy: type(value)(0) for remedy, value in on.items()}}
    arms |= {f"+{remedy}": {remedy: value} for remedy, value in on.items()}
    arms |= {ALL: on} if len(on) > 1 else {}
    return Set(epochs=remedies.epochs, images=remedies.images, reference=REAL, arms=arms)


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
