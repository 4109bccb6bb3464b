"""The section of params.yaml that is the train stage's."""

from pydantic import Field

from imagetrail.base.params import Section


class Train(Section):
    """The `train` section."""

    epochs: int = Field(ge=1)
