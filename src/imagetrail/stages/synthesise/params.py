"""The section of params.yaml that is the synthesise stage's."""

from typing import Annotated

from pydantic import Field

from imagetrail.base.lookup import one_of
from imagetrail.base.params import Section
from imagetrail.stages.synthesise import synthesis


class Synthesise(Section):
    """The `synthesise` section."""

    method: Annotated[str, one_of(synthesis.SYNTHESISERS, "synthesise.method")]
    per_class: int = Field(ge=0)  # images wanted of each class
    epochs: int = Field(ge=1)  # of the generator's training, where it has one
