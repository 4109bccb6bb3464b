"""The section of params.yaml that is the export stage's."""

from pathlib import Path
from typing import Any

from pydantic import Field

from imagetrail.base.errors import UserError
from imagetrail.base.params import Count, Megabytes, Milliseconds, Section
from imagetrail.training.chosen import default_recipe
from imagetrail.training.recipe import Recipe, check_size, override

# What a student takes of its teacher's recipe in no case: it learns answers, of train as it is, and
# may be another network.
ALONE = {
    "enlarge": None,
    "label_smoothing": 0.0,
    "loss": "cross_entropy",
    "pretrained": False,
    "augmented": 0.0,
    "synthetic": 0.0,
    "related": 0.0,
}


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
    student: dict[str, Any] | None = Field(
        description="also ship a smaller network, taught by the model's answers: its epochs, and "
        "the fields of its recipe that differ from the model's; null: none"
    )
    budget: Budget = Field(description="the smallest file within it is shipped")

    def check(self, path: Path) -> None:
        if self.student is not None:
            where = f"{path}: export.student"
            if "epochs" not in self.student:
                raise UserError(f"{where}: its epochs are missing")
            student = taught(default_recipe(epochs=1, path=path), self.student, where)
            check_size(student, where, path)


def taught(teacher: Recipe, student: dict[str, Any], where: str) -> Recipe:
    """The recipe of a student; raises UserError, beginning with `where`, for a wrong field."""
    return override(teacher, ALONE | student, where)
