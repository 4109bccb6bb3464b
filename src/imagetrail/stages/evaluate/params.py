"""The section of params.yaml that is the evaluate stage's."""

from typing import Annotated

from pydantic import Field

from imagetrail.base.lookup import one_of
from imagetrail.base.params import Count, Name, Section


class Evaluate(Section):
    """The `evaluate` section."""

    bootstrap: int = Field(ge=100, le=1_000_000, description="draws for a 95 % interval")
    mirrored: bool = Field(
        description="also judge the mean of the answers to a picture and to its mirror image"
    )
    corrupted: Count = Field(
        description="test images that noise, blur and other corruptions are tried on, at most"
    )
    slices: list[Name] = Field(
        description="columns of data/split/test/index.parquet that are judged value by value, "
        "as class and source are"
    )
    unknown: Annotated[str, one_of("imagetrail.data.datasets:DATASETS", "data set")] | None = Field(
        description="another data set, whose pictures the model should be less sure of; null: none"
    )
