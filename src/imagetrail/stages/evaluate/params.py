"""The section of params.yaml that is the evaluate stage's."""

from typing import Annotated

from pydantic import Field

from imagetrail.base.lookup import one_of
from imagetrail.base.params import Section
from imagetrail.data.datasets import DATASETS


class Evaluate(Section):
    """The `evaluate` section."""

    bootstrap: int = Field(ge=100)  # draws for an interval
    mirrored: bool  # also judge the mean of the answers to a picture and to its mirror image
    corrupted: int = Field(ge=1)  # test images that the corruptions are tried on, at most
    slices: list[
        str
    ]  # columns of the test set's index whose values are judged apart, as class and source are
    unknown: (
        Annotated[str, one_of(DATASETS, "data set")] | None
    )  # a data set to be told from test; null: none
