"""The section of params.yaml that is the audit stage's."""

from pydantic import Field

from imagetrail.base.params import Epochs, Folds, Section


class Audit(Section):
    """The `audit` section."""

    folds: Folds = Field(
        description="parts of all pictures, each answered by a model of the others; 0: no audit",
    )
    epochs: Epochs = Field(description="epochs of each of these small trainings")
    images: int | None = Field(ge=2, description="pictures of an epoch, at most; null: all")
