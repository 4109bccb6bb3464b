"""Presets by kind of picture: look here first, and change what you know better.

`imagetrail init` goes by the kind that it sees, or by `--kind`. A kind says what may happen to a
picture without its becoming another, which Albumentations policy does the same beforehand, and
whether ImageNet's weights are worth beginning with. The network, the size of the pictures and the
length of search and training follow from how many pictures there are and how fast the machine is:
plans.py.

The figures are of benchmarks/README.md where no other source is named, on 2 cores. What has none
was not measured: there was no set of that kind at hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagetrail.cli.begin.look import Look
from imagetrail.training.recipe import Recipe

FEW = 300  # pictures a class: up to so many, a network that knows nothing learns from more changes
PIXELS = ("shift", "elastic")  # given as shares of the shorter side, for pictures of any size
PAGE = 500  # pixels: signs that large are a page of them

Params = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What suits a kind of picture."""

    why: str
    policy: str  # augment.policy
    changes: Mapping[str, Any]  # fields of the recipe, drawn anew each time a picture is seen
    few: Mapping[str, Any] = field(default_factory=dict)  # also, of FEW pictures a class or fewer
    known: bool = True  # whether ImageNet's weights, where few, are better than none
    few_small: int = 6000  # pictures of 64 pixels or less: of more, their own are worth more
    crowded: bool = False  # whether airbench, of more, is better than a faster network


KINDS = {
    # MNIST: 99.67 % in 8 epochs, 3 minutes, with shifts alone. With the changes for few, 10 a
    # class 96.6 % (without: 87.2 %), 100 a class 99.0 % (98.0 %), 1,000 a class 99.4 % (99.2 %).
    "digits": Kind(
        why="signs, of which a mirror image may be another",
        policy="digits",
        changes={"flip": False, "shift": 1 / 14},
        few={"rotate": 12.0, "zoom": 0.12, "shear": 12.0, "elastic": 0.02},
        known=False,
    ),
    # Fashion-MNIST: 94.0 % in 9 epochs, 3 minutes, with flips alone. From nothing, with the changes
    # for few, 10 a class 74.1 % (without: 69.0 %), 100 a class 86.4 % (82.9 %); at 1,000 a class
    # they harm (87.0 %, without 89.3 %). A head on features: 10 a class 79.1 %, 1,000 91.1 %.
    "objects": Kind(
        why="things on a plain ground",
        policy="objects",
        changes={"flip": True, "shift": 1 / 28},
        few={"zoom": 0.15, "mixup": 1.0, "cutmix": 1.0},
    ),
    # CIFAR-10, 100 a class, from nothing: 55.7 % in 12 epochs, 13 s (without the changes for few
    # 52.1 %; mean of 2 seeds on 2,000 test pictures). Of 2,000 others of train, by 5,000 pictures:
    # a head on features 89.0 % in 25 s, airbench 82.8 % in 99 s, fast 74.3 % in 27 s; by 20,000:
    # 91.3 % in 74 s, 90.7 % in 190 s, 85.2 % in 94 s; by 47,000, airbench 93.3 % in 300 s, fast
    # 88.8 % in 111 s (one training each).
    "photos": Kind(
        why="the ground is not plain",
        policy="photos",
        changes={"flip": True, "shift": 1 / 16},
        few={"zoom": 0.15, "cutmix": 1.0},
        few_small=12_000,  # of 20,000, the minutes that there are would not suffice for 224 pixels
        crowded=True,
    ),
    # Not measured.
    "documents": Kind(
        why="pages, which are read from one side and lie a little askew",
        policy="documents",
        changes={"flip": False, "shift": 1 / 28, "rotate": 3.0, "zoom": 0.1},
    ),
    # Not measured.
    "microscopy": Kind(
        why="nothing is up or down under a microscope",
        policy="microscopy",
        changes={"flip": True, "shift": 1 / 28, "rotate": 180.0, "zoom": 0.1},
    ),
}
CHANGES = sorted({name for kind in KINDS.values() for name in {**kind.changes, **kind.few}})


def seen_kind(look: Look) -> Kind:
    """The kind that pictures are taken for; microscopy has to be named."""
    if look.written:
        page = look.plain and look.grey and look.short >= PAGE
        return KINDS["documents" if page else "digits"]
    return KINDS["objects" if look.plain else "photos"]


def changes(kind: Kind, size: int, *, few: bool) -> Params:
    """Every field of the recipe that some kind sets, for pictures of `size` pixels.

    few: whether pictures are few, and the network knows nothing.
    """
    given = {**kind.changes, **(kind.few if few else {})}
    found: Params = {}
    for name in CHANGES:
        value = given.get(name, Recipe.model_fields[name].default)
        found[name] = round(value * size, 1) if name in PIXELS else value
    # whole pixels, rounded down: of a picture of 8, one is too many (digits: 99.3 %, without 99.9)
    return found | {"shift": int(found["shift"])}
