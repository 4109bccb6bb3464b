"""The section of params.yaml that is the audit stage's."""

from typing import Annotated

from pydantic import AfterValidator, Field

from imagetrail.base.params import Epochs, Section


def _none_or_several(folds: int) -> int:
    if folds == 1:
        raise ValueError("one fold leaves nothing to learn from: 2 or more, or 0 for no audit")
    return folds


class Audit(Section):
    """The `audit` section."""

    folds: Annotated[int, AfterValidator(_none_or_several)] = Field(
        ge=0,
        le=100,
        description="parts of all pictures, each answered by a model of the others; 0: no audit",
    )
    epochs: Epochs = Field(description="epochs of each of these small trainings")
    images: int | None = Field(ge=2, description="pictures of an epoch, at most; null: all")
