"""Albumentations policies: more training images, each draw seeded by copy and group."""

import os
import random
import sys
import warnings
from collections.abc import Iterator
from inspect import signature
from typing import Any

# Albumentations asks the network for a newer version when it is imported, unless it is told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# It also loads torch, for ToTensorV2 alone: 1.8 s in place of 0.5, in every worker. That one import
# may fail, and None makes it fail.
sys.modules["albumentations.pytorch"] = None  # type: ignore[assignment]
import albumentations as A

del sys.modules["albumentations.pytorch"]
import cv2
import numpy as np
from numpy.typing import NDArray

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives, choose
from imagetrail.base.rng import derive, generator
from imagetrail.base.samples import Images
from imagetrail.stages.augment.presets import PRESETS, Policy

WHERE = "params.yaml: augment.policy:"

# those that have `transforms`
COMBINATIONS = {kind.__name__: kind for kind in (A.OneOf, A.RandomOrder, A.Sequential, A.SomeOf)}
ABSTRACT = A.ImageOnlyTransform, A.DualTransform, A.Transform3D
TRANSFORMS = {
    name: kind
    for name, kind in vars(A).items()
    if isinstance(kind, type)
    and issubclass(kind, A.ImageOnlyTransform | A.DualTransform)
    and not issubclass(kind, A.Transform3D)
    and kind not in ABSTRACT
}
# of images that do not suit
REFUSALS = (
    ValueError,
    TypeError,
    RuntimeError,
    KeyError,
    ArithmeticError,
    MemoryError,
    cv2.error,
)


def resolve(policy: str | Policy) -> Policy:
    """The policy itself where it is a preset's name; raises UserError for a name there is not."""
    return choose(PRESETS, policy, f"preset in {WHERE}") if isinstance(policy, str) else policy


def build(policy: str | Policy, shape: tuple[int, ...]) -> A.Compose:
    """The policy as one transform of images of `shape` (H, W, C).

    Raises UserError for a wrong name or argument, and for a transform that needs colour, or changes
    the size or type.
    """
    policy = resolve(policy)
    compose = A.Compose(
        [_transform(name, arguments) for line in policy for name, arguments in line.items()]
    )
    for line in alone(policy):  # each once for certain: in the policy it may be left to chance
        _try(line, shape)
    return compose


def alone(policy: Policy) -> Iterator[Policy]:
    """Each transform, those in combinations too, as a policy that leaves nothing to chance."""
    for line in policy:
        for name, arguments in line.items():
            if name in COMBINATIONS:
                yield from alone(_listed(name, arguments))
            else:
                yield [{name: arguments | {"p": 1.0}}]


def _listed(name: str, arguments: dict[str, Any]) -> Policy:
    """The policy inside a combination."""
    inside = arguments.get("transforms")
    if not isinstance(inside, list) or not inside or not all(_is_line(line) for line in inside):
        wanted = "transforms must be a list of transforms, each a name with its arguments"
        raise UserError(f"{WHERE} {name}: {wanted}")
    return inside


def _is_line(line: object) -> bool:
    return isinstance(line, dict) and all(isinstance(inside, dict) for inside in line.values())


def _transform(name: str, arguments: dict[str, Any]) -> A.BasicTransform | A.BaseCompose:
    kind = choose(TRANSFORMS | COMBINATIONS, name, f"transform in {WHERE}")
    fields = signature(kind).parameters if name in COMBINATIONS else kind.InitSchema.model_fields
    valid = {*fields, "p"}
    for argument in arguments:
        if argument not in valid:
            choices = alternatives(argument, valid)
            raise UserError(f"{WHERE} {name}: unknown argument {argument!r}; {choices}")
    if name in COMBINATIONS:
        inside = [_transform(*item) for line in _listed(name, arguments) for item in line.items()]
        arguments = arguments | {"transforms": inside}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it only warns of what it cannot use, and goes on without
        try:
            return kind(**arguments)
        except (UserWarning, *REFUSALS) as error:
            raise UserError(f"{WHERE} {name}: {_one_line(error)}") from None


def _try(line: Policy, shape: tuple[int, ...]) -> None:
    ((name, arguments),) = line[0].items()
    transform = _transform(name, arguments)
    try:
        new = transform(images=_grey(shape))["images"][0]
    except REFUSALS as error:
        if shape[2] == 1 and _suits(transform, (*shape[:2], 3)):
            fault = "needs 3 channels, and the images have 1 (data.channels)"
        else:
            fault = f"cannot be applied to images of {_sides(shape)}: {_one_line(error)}"
        raise UserError(f"{WHERE} {name} {fault}") from None
    _check(f"{WHERE} {name}", new, shape)


def _suits(transform: A.BasicTransform, shape: tuple[int, ...]) -> bool:
    try:
        return bool(len(transform(images=_grey(shape))["images"]))
    except REFUSALS:
        return False


def _grey(shape: tuple[int, ...]) -> Images:
    return np.full((1, *shape), 128, np.uint8)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check(who: str, image: NDArray[Any], shape: tuple[int, ...]) -> None:
    if image.shape != shape or image.dtype != np.uint8:
        before, after = f"{_sides(shape)} uint8", f"{_sides(image.shape)} {image.dtype}"
        raise UserError(f"{who} turns {before} into {after}; size and type must stay")


def _sides(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def draw(
    transform: A.Compose, images: Images, *, group: int, seed: int, copy: int, first: int = 0
) -> Images:
    """New versions of `images`, `group` of them after another by one draw of the parameters.

    first: number of the first group among all of the copy; a draw depends on seed, copy and number
    of the group alone.
    """
    cv2.setNumThreads(1)  # for small images a second thread costs more than it brings
    made = np.empty_like(images)
    for number, start in enumerate(range(0, len(images), group), first):
        # one stream for each draw: Compose(seed=...) would give all its transforms the same one
        transform.set_random_state(
            generator(seed, "augment", copy, number),
            random.Random(derive(seed, "augment-py", copy, number)),
        )
        new = transform(images=images[start : start + group])["images"]
        _check(WHERE, new[0], images.shape[1:])
        made[start : start + group] = new
    return made
