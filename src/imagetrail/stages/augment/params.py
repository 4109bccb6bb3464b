"""The section of params.yaml that is the augment stage's."""

from pydantic import Field

from imagetrail.base.params import Section
from imagetrail.stages.augment.policy import Policy


class Augment(Section):
    """The `augment` section."""

    copies: int = Field(ge=0)  # new images for each training image
    group: int = Field(
        ge=1
    )  # images that share a draw of the parameters; 1: each has its own, several times slower
    policy: str | Policy  # a name in PRESETS, or transforms
