"""The section of params.yaml that is the pretrain stage's."""

from pathlib import Path, PurePath
from typing import Annotated

from pydantic import Field

from imagetrail.base import hub, paths
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import one_of
from imagetrail.base.params import Epochs, Section, load

IMAGENET = "imagenet"
IMAGENET_MODELS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def _inside(name: str) -> bool:
    path = PurePath(name)
    return not path.is_absolute() and ".." not in path.parts


class Pretrain(Section):
    """The `pretrain` section."""

    related: list[Annotated[str, one_of("imagetrail.data.datasets:DATASETS", "data set")]] = Field(
        description="other published data sets to learn from first"
    )
    weights: str | None = Field(
        default=None,
        description="what to begin with: imagenet, for models efficientnet_lite0 to 2, or a "
        "safetensors file in data/weights; null: nothing, or the weights that a network of the hub "
        "comes with",
    )
    revision: str = Field(
        default="main",
        pattern=r"^\w[\w./-]*$",
        description="commit, tag or branch of a network of the hub",
    )
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="of its model.safetensors; null: noted in data/checksums.json at first",
    )
    epochs: Epochs = Field(description="epochs on the related data sets")

    def check(self, path: Path) -> None:
        self.check_weights(load(str, "recipe.model", path))

    def check_weights(self, model: str) -> None:
        """Raises UserError if `weights` is neither a file nor imagenet, or not for this model."""
        if self.weights == IMAGENET and hub.named(model):
            raise UserError(
                f"params.yaml: pretrain.weights: {model} comes with its own weights: null, not "
                f"{IMAGENET}"
            )
        if self.weights == IMAGENET and model not in IMAGENET_MODELS:
            raise UserError(
                f"params.yaml: pretrain.weights: {IMAGENET} has weights for recipe.model "
                f"{', '.join(IMAGENET_MODELS)} only, not {model}"
            )
        if self.weights and not _inside(self.weights):
            raise UserError(
                f"params.yaml: pretrain.weights: {self.weights!r} leads out of {paths.WEIGHTS}; "
                "put the file there"
            )
        if self.weights not in (None, IMAGENET) and not (paths.WEIGHTS / self.weights).is_file():
            raise UserError(
                f"params.yaml: pretrain.weights: {self.weights!r} is neither {IMAGENET} nor a file "
                f"in {paths.WEIGHTS}"
            )
