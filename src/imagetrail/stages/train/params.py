"""The section of params.yaml that is the train stage's."""

from pydantic import Field

from imagetrail.base.params import Epochs, Section


class Train(Section):
    """The `train` section."""

    epochs: Epochs = Field(description="epochs of the final training")
