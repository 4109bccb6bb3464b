"""The section of params.yaml that is the inspect stage's."""

from pydantic import Field

from imagetrail.base.params import Section


class Inspect(Section):
    """The `inspect` section: what is still acceptable."""

    max_unreadable: float = Field(ge=0, le=1)  # share of the pictures
    min_per_class: int = Field(ge=3)  # readable pictures; train, valid and test need one each
