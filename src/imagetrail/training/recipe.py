"""The recipe of a training."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import one_of
from imagetrail.base.params import Section, check, load, read_yaml
from imagetrail.models.activations import ACTIVATIONS
from imagetrail.models.classifier import INITIALISATIONS
from imagetrail.models.networks import MODELS
from imagetrail.training import optimisers
from imagetrail.training.transforms import Jitter


class Recipe(Section):
    """How a model is built and trained: every hyper-parameter, once."""

    model: Annotated[str, one_of(MODELS, "model")]
    activation: Annotated[str, one_of(ACTIVATIONS, "activation")]
    initialisation: Annotated[str, one_of(INITIALISATIONS, "initialisation")] = "gain"
    width: float = Field(default=1.0, gt=0, le=16)  # factor on the number of channels
    dropout: float = Field(default=0.0, ge=0, lt=1)  # before the last layer
    epochs: int = Field(ge=1)
    batch_size: int = Field(default=256, ge=2)
    optimiser: Annotated[str, one_of(optimisers.OPTIMISERS, "optimiser")] = "muon"
    lr: float = Field(
        gt=0
    )  # its peak for batches of 256; another size scales it as the optimiser needs
    schedule: Annotated[str, one_of(optimisers.SCHEDULES, "schedule")] = "one_cycle"
    weight_decay: float = Field(
        default=0.0, ge=0
    )  # decoupled, times lr, for adamw and muon; L2 for sgd
    ema: float = Field(
        default=0.0, ge=0, lt=1
    )  # decay a step of the averaged weights that become the model; 0: the last ones
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    flip: bool = (
        False  # mirror half of the images; harms where left and right differ, as for digits
    )
    shift: int = Field(default=0, ge=0)  # pixels, each way
    rotate: float = Field(default=0.0, ge=0, le=180)  # degrees, each way
    zoom: float = Field(default=0.0, ge=0, lt=1)  # share by which an image grows or shrinks at most
    shear: float = Field(default=0.0, ge=0, lt=90)  # degrees, each way
    elastic: float = Field(
        default=0.0, ge=0
    )  # pixels by which a place moves, as a standard deviation
    cutout: int = Field(default=0, ge=0)  # side of a square painted over, in pixels
    mixup: float = Field(default=0.0, ge=0)  # Beta parameter of blending two images
    cutmix: float = Field(
        default=0.0, ge=0
    )  # Beta parameter of the area that one image takes of another
    repeat_to: int = Field(
        default=0, ge=0
    )  # an epoch has at least so many images: a smaller set is repeated
    augmented: float = Field(default=0.0, ge=0, le=1)  # share of an epoch taken from data/augmented
    synthetic: float = Field(default=0.0, ge=0, le=1)  # share of an epoch taken from data/synthetic
    related: float = Field(
        default=0.0, ge=0, le=1
    )  # share taken from the images in data/split/related of our own classes
    pretrained: bool = True  # begin with the weights in artifacts/pretrain, where there are any
    probe: float = Field(
        default=0.0, ge=0, le=1
    )  # share of the training in which the last layer alone learns, if pretrained
    layer_decay: float = Field(
        default=1.0, gt=0, le=1
    )  # factor on a layer's lr for each layer after it, if pretrained

    @property
    def jitter(self) -> Jitter:
        return Jitter(**{field.name: getattr(self, field.name) for field in fields(Jitter)})


def default_recipe(*, epochs: int, path: Path = Path("params.yaml")) -> Recipe:
    """The recipe of params.yaml, for a training of so many epochs: how long is each stage's own affair."""
    values = load(dict[str, Any], "recipe", path)
    if "epochs" in values:
        raise UserError(
            f"{path}: recipe.epochs: each stage has its own: train.epochs, pretrain.epochs, tune.rungs, compare"
        )
    return check(Recipe, values | {"epochs": epochs}, f"{path}: recipe")


def best_recipe(*, epochs: int) -> Recipe:
    """The recipe of params.yaml with what the search found."""
    return override(default_recipe(epochs=epochs), read_yaml(paths.BEST), str(paths.BEST))


def proven_recipe(*, epochs: int) -> Recipe:
    """That recipe with every remedy for scarce data that `compare` tried as it proved: at the value tried, or off."""
    return override(best_recipe(epochs=epochs), read_yaml(paths.REMEDIES), str(paths.REMEDIES))


def override(recipe: Recipe, values: dict[str, Any], where: str) -> Recipe:
    """The recipe with some fields replaced; raises UserError, beginning with `where`, for a wrong field or value."""
    unknown = [name for name in values if name not in Recipe.model_fields]
    if unknown:
        raise UserError(
            f"{where}: recipe has no field {', '.join(unknown)}; choose from {', '.join(Recipe.model_fields)}"
        )
    return check(Recipe, recipe.model_dump() | values, where)
