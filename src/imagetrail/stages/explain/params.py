"""The section of params.yaml that is the explain stage's."""

from pydantic import Field

from imagetrail.base.params import Section


class Explain(Section):
    """The `explain` section."""

    per_class: int = Field(ge=1, le=10_000, description="test pictures explained for each class")
    pictures: int = Field(
        ge=2, le=10_000, description="test pictures on which the maps of each method are tried"
    )
