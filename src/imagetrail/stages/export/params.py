"""The section of params.yaml that is the export stage's."""

from pathlib import Path

from pydantic import Field

from imagetrail.base import hub
from imagetrail.base.errors import UserError
from imagetrail.base.params import Count, Epochs, Megabytes, Milliseconds, Section, load


class Student(Section):
    """The same kind of network, narrower, taught by the model's answers."""

    width: float = Field(gt=0, le=16, description="factor on the number of channels")
    epochs: Epochs = Field(description="epochs of its training")


class Budget(Section):
    """What the shipped file may take; null is no bound."""

    max_ms: Milliseconds | None = Field(
        description="milliseconds a picture, the median on one thread; with it, a clock decides",
    )
    max_mb: Megabytes | None = Field(description="size in 10⁶ bytes")
    max_loss: float | None = Field(
        ge=0, le=1, description="share of the valid images, net, that it may lose against float32"
    )


class Export(Section):
    """The `export` section."""

    tolerance: float = Field(
        gt=0, lt=1, description="largest difference in probability between ONNX and torch"
    )
    calibration: Count = Field(description="training images that set the ranges of int8")
    student: Student | None = Field(description="also ship a slimmer network; null: none")
    budget: Budget = Field(description="the smallest file within it is shipped")

    def check(self, path: Path) -> None:
        model = load(str, "recipe.model", path)
        if self.student and hub.named(model):
            raise UserError(f"{path}: export.student: {model} comes in one width; null: no student")
