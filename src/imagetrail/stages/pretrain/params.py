"""The section of params.yaml that is the pretrain stage's."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import one_of
from imagetrail.base.params import Epochs, Section, load

IMAGENET, IMAGENET_MODEL = "imagenet", "efficientnet_lite0"


class Pretrain(Section):
    """The `pretrain` section."""

    related: list[Annotated[str, one_of("imagetrail.data.datasets:DATASETS", "data set")]] = Field(
        description="other published data sets to learn from first"
    )
    weights: str | None = Field(
        default=None,
        description="what to begin with: imagenet, for model efficientnet_lite0, or a safetensors "
        "file in data/weights; null: nothing",
    )
    epochs: Epochs = Field(description="epochs on the related data sets")

    def check(self, path: Path) -> None:
        self.check_weights(load(str, "recipe.model", path))

    def check_weights(self, model: str) -> None:
        """Raises UserError if `weights` is neither a file nor imagenet, or not for this model."""
        if self.weights == IMAGENET and model != IMAGENET_MODEL:
            raise UserError(
                f"params.yaml: pretrain.weights: {IMAGENET} has weights for recipe.model "
                f"{IMAGENET_MODEL} only, not {model}"
            )
        if self.weights not in (None, IMAGENET) and not (paths.WEIGHTS / self.weights).is_file():
            raise UserError(
                f"params.yaml: pretrain.weights: {self.weights!r} is neither {IMAGENET} nor a file "
                f"in {paths.WEIGHTS}"
            )
