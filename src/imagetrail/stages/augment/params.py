"""The section of params.yaml that is the augment stage's."""

from pathlib import Path
from typing import Any

from pydantic import Field

from imagetrail.base.params import Section, load
from imagetrail.stages.augment.policy import build
from imagetrail.stages.augment.presets import Policy


class Augment(Section):
    """The `augment` section."""

    copies: int = Field(ge=0, le=1000, description="new images for each training image; 0: none")
    group: int = Field(
        ge=1,
        le=1_000_000,
        description="images that share a draw, where there are 1,000 such groups; "
        "1: a draw for each image, several times slower",
    )
    policy: str | Policy = Field(
        description="a preset (digits, documents, microscopy, objects, photos), or a list of "
        "Albumentations transforms, each a name with its arguments"
    )

    def check(self, path: Path) -> None:
        size, channels = load(Any, "data.image_size", path), load(int, "data.channels", path)
        sides = tuple(size) if isinstance(size, list) else (size, size)
        build(self.policy, (*sides, channels))
