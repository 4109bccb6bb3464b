"""The section of params.yaml that is the gate's."""

from pydantic import Field

from imagetrail.base.params import Section


class Gate(Section):
    """The `gate` section; null is no bound."""

    min_top1: float = Field(
        ge=0, le=1
    )  # what the lower end of any model's 95 % interval must reach
    alpha: float = Field(gt=0, lt=0.5)  # error rate of each test against a champion
    margin: float | None = Field(gt=0, lt=1)  # of accuracy, that no class may lose
    max_ece: float | None = Field(gt=0, le=1)  # expected calibration error
    max_robustness_loss: float | None = Field(
        ge=0, le=1
    )  # mean corruption error above the champion's
    max_mb: float | None = Field(gt=0)  # 10⁶ bytes
    max_ms: float | None = Field(
        gt=0
    )  # median of a picture on one thread, by the clock of the machine that exported it
