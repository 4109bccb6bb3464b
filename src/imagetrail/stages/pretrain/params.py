"""The section of params.yaml that is the pretrain stage's."""

from pydantic import Field

from imagetrail.base.params import Section


class Pretrain(Section):
    """The `pretrain` section."""

    related: list[str]  # names of other data sets to learn from
    weights: str | None = None  # to begin with: imagenet, or the name of a file in data/weights
    epochs: int = Field(ge=1)  # on the related data sets
