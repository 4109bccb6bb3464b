"""The section of params.yaml that is the inspect stage's."""

from pydantic import Field

from imagetrail.base.params import Section


class Inspect(Section):
    """The `inspect` section: what is still acceptable."""

    max_unreadable: float = Field(
        ge=0, le=1, description="share of the pictures that may be broken before the pipeline stops"
    )
    min_per_class: int = Field(
        ge=3, description="readable pictures of each class; train, valid and test need one each"
    )
