"""Albumentations policies: more training images from those there are, each draw seeded by image and copy."""

import os
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the network for a newer version
sys.modules["albumentations.pytorch"] = None  # type: ignore[assignment]  # it would load torch, in every worker

import albumentations as A
import cv2
import numpy as np

from imagetrail.choices import choose
from imagetrail.errors import UserError
from imagetrail.rng import derive, generator
from imagetrail.samples import Images

Policy = list[dict[str, dict[str, Any]]]  # one transform a line: its name, and its arguments

TRANSFORMS = {
    name: kind
    for name, kind in vars(A).items()
    if isinstance(kind, type) and issubclass(kind, A.ImageOnlyTransform | A.DualTransform) and name[0].isupper()
}


def build(policy: Policy, channels: int) -> A.Compose:
    """The policy as one transform; raises UserError for a wrong name or argument, or one that needs colour."""
    transforms = [_transform(name, arguments) for line in policy for name, arguments in line.items()]
    compose = A.Compose(transforms)
    try:
        compose(image=np.zeros((32, 32, channels), np.uint8))
        for transform in transforms:  # each once for certain: in the policy it may be left to chance
            transform.p, chance = 1.0, transform.p
            transform(image=np.full((32, 32, channels), 128, np.uint8))
            transform.p = chance
    except (ValueError, TypeError, RuntimeError, cv2.error) as error:  # what transforms raise for a wrong number of channels
        raise UserError(
            f"params.yaml: augment.policy: cannot be applied to {channels}-channel images: {' '.join(str(error).split())}"
        ) from None
    return compose


def _transform(name: str, arguments: dict[str, Any]) -> A.BasicTransform:
    kind = choose(TRANSFORMS, name, "transform in params.yaml: augment.policy:")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Albumentations only warns of an unknown argument, and goes on without it
        try:
            return kind(**arguments)
        except (UserWarning, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"params.yaml: augment.policy: {name}: {reason}") from None


def augmented(images: Images, policy: Policy, *, first: int, copy: int, seed: int) -> Iterator[Images]:
    """Yields one new image for each of `images`; `first` is the number of the first among all training images."""
    compose = build(policy, images.shape[3])
    for i, image in enumerate(images, first):
        # one stream for each draw: Compose(seed=...) would give all its transforms the same one
        compose.set_random_state(generator(seed, "augment", copy, i), random.Random(derive(seed, "augment-py", copy, i)))
        new = compose(image=image)["image"].reshape(*image.shape[:2], -1)
        if new.shape != image.shape:
            raise UserError(
                f"params.yaml: augment.policy: turns {image.shape} images into {new.shape}; it must keep their size"
            )
        yield new
