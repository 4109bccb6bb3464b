"""What an epoch takes from elsewhere than train's own images, and which stage prepares it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from imagetrail.base import hub, paths
from imagetrail.base.errors import UserError
from imagetrail.base.params import read_yaml

if TYPE_CHECKING:  # which asks here whether its shares are right
    from imagetrail.training.recipe import Recipe

# Field of the recipe: the params one of which has a stage prepare its images or weights.
PREPARED_BY = {
    "augmented": ("augment.copies",),
    "synthetic": ("synthesise.per_class",),
    "related": ("pretrain.related",),
    "pretrained": ("pretrain.related", "pretrain.weights"),
    "fine_tune": ("pretrain.related", "pretrain.weights"),
}


def taken(recipe: "Recipe") -> dict[str, float]:
    """The shares of an epoch that are not train's own images."""
    return {field: getattr(recipe, field) for field in paths.SHARES}


def check(
    recipe: "Recipe", where: str, *, prepared: Callable[[str], bool], base: "Recipe | None" = None
) -> None:
    """Raises UserError, beginning with `where`, for shares of over 1 or of what is not prepared.

    base: a recipe that is checked by itself, so that its shares are no fault of this one.
    """
    takes, given = taken(recipe), taken(base) if base else {}
    if sum(takes.values()) > 1 + 1e-9 and takes != given:
        raise UserError(f"{where}: {' + '.join(takes)} is {sum(takes.values()):g}; at most 1")
    for field, share in takes.items():
        if share and share != given.get(field) and not prepared(field):
            (key,) = PREPARED_BY[field]
            raise UserError(
                f"{where}: takes a share of {share:g} {field} images, but {key} makes none of "
                "these classes"
            )


def prepared_by(path: Path) -> Callable[[str], bool]:
    """Whether a params file has the images or weights prepared that a field of the recipe takes.

    True of a field that takes none.
    """
    values = read_yaml(path)

    def prepared(field: str) -> bool:
        keys = PREPARED_BY.get(field, ())
        if "pretrain.weights" in keys and hub.named(values["recipe"]["model"]):
            return True  # it comes with weights
        parts = [key.split(".") for key in keys]
        return not parts or any(values[section].get(key) for section, key in parts)

    return prepared
