"""The section of params.yaml that is the gate's."""

from pydantic import Field

from imagetrail.base.params import Megabytes, Milliseconds, Section


class Gate(Section):
    """The `gate` section; null is no bound."""

    min_top1: float = Field(
        ge=0, le=1, description="top-1 that the lower end of any model's 95 % interval must reach"
    )
    alpha: float = Field(
        gt=0,
        lt=0.5,
        description="chance of promoting any challenger that is no better, of all that the same "
        "test images judge: the n-th may have alpha / (n · (n + 1)) of it",
    )
    margin: float | None = Field(
        gt=0,
        lt=1,
        description="accuracy that no class may lose, shown class by class; a challenger of other "
        "classes than the champion's need show no more than this on those that both know",
    )
    max_ece: float | None = Field(gt=0, le=1, description="expected calibration error")
    max_robustness_loss: float | None = Field(
        ge=0, le=1, description="mean error on corrupted pictures, above the champion's"
    )
    max_mb: Megabytes | None = Field(description="size in 10⁶ bytes")
    max_ms: Milliseconds | None = Field(
        description="milliseconds a picture, the median on one thread of the exporting machine; "
        "with it, a clock decides",
    )
