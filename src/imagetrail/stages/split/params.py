"""The section of params.yaml that is the split stage's."""

from pydantic import Field

from imagetrail.base.params import Count, Folds, Section


class Split(Section):
    """The `split` section: shares of the pictures, which are met as groups and copies allow."""

    valid: float = Field(
        gt=0,
        lt=0.5,
        description="share of what is not in test, where no valid set is published",
    )
    test: float = Field(
        gt=0, lt=0.5, description="share of the pictures where no test set is published"
    )
    per_class: Count | None = Field(
        default=None, description="training images kept of each class, at most; null: all"
    )
    folds: Folds = Field(
        default=0,
        description="also judge the recipe on every picture once, by so many trainings without it: "
        "where there are too few pictures for a test set; 0: on test alone",
    )
