"""The section of params.yaml that is the evaluate stage's."""

from pydantic import Field

from imagetrail.base.params import Section


class Evaluate(Section):
    """The `evaluate` section."""

    bootstrap: int = Field(ge=100)  # draws for an interval
    mirrored: bool  # also judge the mean of the answers to a picture and to its mirror image
    corrupted: int = Field(ge=1)  # test images that the corruptions are tried on, at most
    slices: list[
        str
    ]  # columns of the test set's index whose values are judged apart, as class and source are
    unknown: str | None  # a data set to be told from test; null: none
