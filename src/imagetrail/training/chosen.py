"""Recipes that stages train by: params.yaml, and what search and comparison have chosen."""

from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.params import check, load, read_yaml
from imagetrail.training.recipe import Recipe, override


def default_recipe(*, epochs: int, path: Path = Path("params.yaml")) -> Recipe:
    """The recipe of params.yaml, for a training of so many epochs, which each stage has its own."""
    values = load(dict[str, Any], "recipe", path)
    if "epochs" in values:
        raise UserError(
            f"{path}: recipe.epochs: each stage has its own: train.epochs, pretrain.epochs, "
            "tune.rungs, compare"
        )
    return check(Recipe, values | {"epochs": epochs}, f"{path}: recipe")


def best_recipe(*, epochs: int) -> Recipe:
    """The recipe of params.yaml with what the search found."""
    return override(default_recipe(epochs=epochs), read_yaml(paths.BEST), str(paths.BEST))


def proven_recipe(*, epochs: int) -> Recipe:
    """That recipe with every remedy that `compare` tried as it proved: at the value, or off."""
    return override(best_recipe(epochs=epochs), read_yaml(paths.REMEDIES), str(paths.REMEDIES))
