"""The section of params.yaml that is the export stage's."""

from pydantic import Field

from imagetrail.base.params import Section


class Student(Section):
    """The `export.student` section: the same kind of network, narrower, taught by the model's answers."""

    width: float = Field(gt=0, lt=16)
    epochs: int = Field(ge=1)


class Budget(Section):
    """The `export.budget` section: what the shipped file may take; null is no bound."""

    max_ms: float | None  # median of a single picture on one thread: what a clock says decides
    max_mb: float | None  # 10⁶ bytes
    max_loss: (
        float | None
    )  # share of the validation images, net, that float32 gets right and the file does not


class Export(Section):
    """The `export` section."""

    tolerance: float = Field(gt=0)  # largest difference in probability between ONNX and torch
    calibration: int = Field(ge=1)  # training images that set the ranges of int8
    student: Student | None
    budget: Budget
