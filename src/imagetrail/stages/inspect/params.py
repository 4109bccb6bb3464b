"""The section of params.yaml that is the inspect stage's."""

from typing import Annotated

from pydantic import Field

from imagetrail.base.lookup import one_of
from imagetrail.base.params import MOST, Section

Finding = Annotated[str, one_of("imagetrail.stages.inspect.findings:FINDINGS", "finding")]


class Inspect(Section):
    """The `inspect` section: what is still acceptable."""

    max_unreadable: float = Field(
        ge=0, le=1, description="share of the pictures that may be broken: finding `broken`"
    )
    min_per_class: int = Field(
        ge=3, le=MOST, description="readable pictures of each class: finding `few_pictures`"
    )
    fail_on: list[Finding] = Field(
        description="findings that stop the pipeline; the report has all of them all the same"
    )
