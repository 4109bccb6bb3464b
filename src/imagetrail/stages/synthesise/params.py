"""The section of params.yaml that is the synthesise stage's."""

from typing import Annotated

from pydantic import Field

from imagetrail.base.lookup import one_of
from imagetrail.base.params import Epochs, Section

Method = Annotated[
    str, one_of("imagetrail.stages.synthesise.synthesis:SYNTHESISERS", "synthesise.method")
]


class Synthesise(Section):
    """The `synthesise` section."""

    method: Method = Field(
        description="how images are drawn; warp bends and blends, and needs no training"
    )
    per_class: int = Field(ge=0, le=1_000_000, description="new images of each class; 0: none")
    epochs: Epochs = Field(description="epochs of the generator's training, where it has one")
