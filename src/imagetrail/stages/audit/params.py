"""The section of params.yaml that is the audit stage's."""

from pydantic import Field

from imagetrail.base.params import Epochs, Few, Folds, Section


class Audit(Section):
    """The `audit` section."""

    folds: Folds = Field(
        description="parts of all pictures, each answered by a model of the others; 0: no audit",
    )
    epochs: Epochs = Field(description="epochs of each of these small trainings")
    images: Few | None = Field(description="pictures of an epoch, at most; null: all")
