"""The recipe of a training."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from imagetrail.base import hub
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives, names_in, one_of
from imagetrail.base.params import Epochs, Section, check, load
from imagetrail.training import shares


def _network(model: str) -> str:
    """One of ours, or of the hub."""
    if hub.named(model):
        hub.check(model)
    elif model not in (ours := names_in("imagetrail.models.networks:MODELS")):
        choices = alternatives(model, [*ours, *(f"{start}/…" for start in hub.LIBRARIES)])
        raise UserError(f"unknown model {model!r}; {choices}")
    return model


Model = Annotated[str, AfterValidator(_network)]
Activation = Annotated[str, one_of("imagetrail.models.activations:ACTIVATIONS", "activation")]
Initialisation = Annotated[
    str, one_of("imagetrail.models.classifier:INITIALISATIONS", "initialisation")
]
Optimiser = Annotated[str, one_of("imagetrail.training.optimisers:OPTIMISERS", "optimiser")]
Loss = Annotated[str, one_of("imagetrail.training.losses:LOSSES", "loss")]
Schedule = Annotated[str, one_of("imagetrail.training.optimisers:SCHEDULES", "schedule")]

# model: pixels of the shorter side; the others take all sizes
LEAST_SIDE = {"airbench": 5, "article": 10}
LEAST_LITE = 33  # of EfficientNet-Lite, which else enlarges small pictures by itself
LARGEST = 1024  # pixels of the longer side, once it is enlarged


class Recipe(Section):
    """How a model is built and trained: every hyper-parameter, once."""

    renamed: ClassVar = {"probe": "fine_tune"}

    model: Model = Field(description="the network")
    activation: Activation | None = Field(
        default=None,
        description="the activation function of its hidden layers; null: the network's own",
    )
    initialisation: Initialisation = Field(
        default="gain",
        description="of the weights: gain, scaled to the activation; glorot, as Keras has it; "
        "identity, which passes on what comes in",
    )
    width: float = Field(default=1.0, gt=0, le=16, description="factor on the number of channels")
    enlarge: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="factor on the sides of pictures on their way into the network; null: "
        "EfficientNet-Lite sees them near the size that it was learned on, others as they are",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share, before the last layer")
    epochs: Epochs = Field(description="length of the training; each stage has its own")
    batch_size: int = Field(default=256, ge=2, le=1_000_000, description="images a step")
    optimiser: Optimiser = Field(default="muon", description="the rule of a step")
    lr: float = Field(
        gt=0,
        le=1000,
        description="learning rate: its peak for batches of 256; another size scales it as the "
        "optimiser needs",
    )
    schedule: Schedule = Field(
        default="one_cycle", description="course of the learning rate through the training"
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="decoupled, times lr, for adamw and muon; L2 for sgd",
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay a step of the averaged weights that become the model; 0: the last ones",
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of a label spread over all classes"
    )
    loss: Loss = Field(default="cross_entropy", description="what training minimises")
    logit_adjustment: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="times the logarithm of a class's share is added to its logit, in the loss "
        "alone; 1: learn as if all classes were equally frequent",
    )
    balance: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="classes are drawn by their frequency to the power of 1 less this: 0 as they "
        "are, 1 all alike",
    )
    crop: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="least share of the area that is cut out and enlarged; 0: no crop",
    )
    flip: bool = Field(
        default=False,
        description="mirror each image in every other epoch; harms where left and right differ, as "
        "for digits",
    )
    turn: bool = Field(
        default=False,
        description="turn images by 0, 90, 180 or 270 degrees; for those without an up, such as "
        "cells from above",
    )
    shift: int = Field(default=0, ge=0, le=224, description="pixels, each way")
    rotate: float = Field(default=0.0, ge=0, le=180, description="degrees, each way")
    zoom: float = Field(
        default=0.0, ge=0, lt=1, description="share by which an image grows or shrinks at most"
    )
    shear: float = Field(default=0.0, ge=0, lt=90, description="degrees, each way")
    elastic: float = Field(
        default=0.0,
        ge=0,
        le=224,
        description="pixels by which a place moves, as a standard deviation",
    )
    trivial: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the images changed by one operation of TrivialAugment",
    )
    randaugment: int = Field(
        default=0, ge=0, le=10, description="operations of RandAugment on each image"
    )
    cutout: int = Field(
        default=0, ge=0, le=224, description="side of a square painted over, in pixels"
    )
    erase: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the images that have a box of any shape painted over",
    )
    mixup: float = Field(
        default=0.0, ge=0, le=1000, description="Beta parameter of blending two images; 0: none"
    )
    cutmix: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="Beta parameter of the area that one image takes of another; 0: none",
    )
    repeat_to: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="an epoch has at least so many images: a smaller set is repeated",
    )
    repeats: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="an image is so many times in a batch, each changed in its own way; 0: once",
    )
    augmented: float = Field(
        default=0.0, ge=0, le=1, description="share of an epoch taken from data/augmented"
    )
    synthetic: float = Field(
        default=0.0, ge=0, le=1, description="share of an epoch taken from data/synthetic"
    )
    related: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of an epoch taken from the images in data/split/related of our classes",
    )
    pretrained: bool = Field(
        default=True,
        description="begin with the weights in artifacts/pretrain, where there are any",
    )
    fine_tune: bool = Field(
        default=True,
        description="if pretrained, all layers learn; false: the network stays as it came, and the "
        "head is solved on its features, of a further view of every picture each epoch",
    )
    penalty: float = Field(
        default=0.1,
        gt=0,
        le=1000,
        description="L2 on the weights of a head that is solved, beside the mean loss",
    )
    blend: float | None = Field(
        default=1.0,
        ge=0,
        le=1,
        description="if pretrained, share of the way from where all layers began to where they "
        "end: the model is there; null: the share that answers valid best, 0 unless told apart",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="factor on a layer's lr for each layer after it, if pretrained",
    )

    def check(self, path: Path) -> None:
        shares.check(self, f"{path}: recipe", prepared=shares.prepared_by(path))
        check_size(self, f"{path}: recipe", path)
        hub.check_use(self.model, self.width, f"{path}: recipe")


def check_size(recipe: Recipe, where: str, path: Path) -> None:
    """Raises UserError, beginning with `where`, for pictures too small or large for a network."""
    size: Any = load(Any, "data.image_size", path)
    sides, model, factor = size if isinstance(size, list) else [size], recipe.model, recipe.enlarge
    lite = factor and model.startswith("efficientnet_lite")
    least = LEAST_LITE if lite else LEAST_SIDE.get(model, 1)
    times = f" times enlarge {factor}" if factor else ""
    if min(sides) * (factor or 1) < least:
        found = f"not {min(sides)}{times}"
        raise UserError(f"{where}: model {model!r} needs data.image_size {least} or more, {found}")
    if factor and factor > 1 and max(sides) * factor > LARGEST:
        found = f"data.image_size {max(sides)}{times}"
        raise UserError(f"{where}: a network sees {LARGEST} pixels a side at most, not {found}")


def override(recipe: Recipe, values: dict[str, Any], where: str) -> Recipe:
    """The recipe with some fields replaced.

    Raises UserError, beginning with `where`, for a wrong field or value.
    """
    unknown = [name for name in values if name not in Recipe.model_fields]
    if unknown:
        raise UserError(
            f"{where}: recipe has no field {', '.join(unknown)}; "
            f"choose from {', '.join(Recipe.model_fields)}"
        )
    changed = check(Recipe, recipe.model_dump() | values, where)
    hub.check_use(changed.model, changed.width, where, only=recipe.model)
    return changed
