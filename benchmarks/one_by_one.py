"""Random crops with flips, and TrivialAugment, one picture after another: the usual ways.

Pillow as torchvision has it (its `v2` transforms of a Pillow picture are these calls), and
Albumentations. Ranges are ours.
"""

import math
import os
import random
from collections.abc import Callable

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A
import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from imagetrail.training.operations import TRIVIAL

Change = Callable[[np.ndarray], np.ndarray]  # H×W×3 uint8
LEAST = 0.3  # share of the area that a crop keeps
ENHANCED = (
    ImageEnhance.Brightness,
    ImageEnhance.Color,
    ImageEnhance.Contrast,
    ImageEnhance.Sharpness,
)


def pillow_crop(array: np.ndarray) -> np.ndarray:
    side = len(array)
    area = side * side * random.uniform(LEAST, 1)
    ratio = math.exp(random.uniform(-1, 1) * math.log(4 / 3))
    wide, high = (min(side, round(math.sqrt(area * share))) for share in (ratio, 1 / ratio))
    left, top = random.randint(0, side - wide), random.randint(0, side - high)
    box = (left, top, left + wide, top + high)
    image = Image.fromarray(array).resize((side, side), Image.Resampling.BILINEAR, box)
    return np.asarray(ImageOps.mirror(image) if random.random() < 0.5 else image)


def pillow_trivial(array: np.ndarray) -> np.ndarray:
    image, kind, strength = Image.fromarray(array), random.randrange(14), random.uniform(-1, 1)
    return np.asarray(_pillow(image, kind, strength))


def _pillow(image: Image.Image, kind: int, strength: float) -> Image.Image:
    if kind == 0:
        return image
    if kind < 5:
        values = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        place, reach = ((1, 0.99), (3, 0.99), (2, 0.45 * image.width), (5, 0.45 * image.height))[
            kind - 1
        ]
        values[place] = strength * reach
        return image.transform(
            image.size, Image.Transform.AFFINE, values, Image.Resampling.BILINEAR
        )
    if kind == 5:
        return image.rotate(strength * TRIVIAL.turn, Image.Resampling.BILINEAR)
    if kind < 10:
        return ENHANCED[kind - 6](image).enhance(1 + strength * TRIVIAL.factor)
    if kind == 10:
        return ImageOps.posterize(image, 8 - round(abs(strength) * (8 - TRIVIAL.bits)))
    if kind == 11:
        return ImageOps.solarize(image, round(256 * (1 - abs(strength))))
    return ImageOps.autocontrast(image) if kind == 12 else ImageOps.equalize(image)


def albumentations_crop(side: int) -> Change:
    crop = A.RandomResizedCrop((side, side), scale=(LEAST, 1), p=1)
    return _applied(A.Compose([crop, A.HorizontalFlip(p=0.5)]))


def albumentations_trivial() -> Change:
    slant, factor = math.degrees(math.atan(TRIVIAL.slant)), TRIVIAL.factor
    move = {"translate_percent": (-TRIVIAL.move, TRIVIAL.move), "border_mode": 1}
    kinds = [
        A.NoOp(),
        A.Affine(shear={"x": (-slant, slant), "y": (0, 0)}, border_mode=1),
        A.Affine(shear={"x": (0, 0), "y": (-slant, slant)}, border_mode=1),
        A.Affine(**move),
        A.Affine(**move),
        A.Affine(rotate=(-TRIVIAL.turn, TRIVIAL.turn), border_mode=1),
        A.ColorJitter(brightness=factor, contrast=0, saturation=0, hue=0),
        A.ColorJitter(brightness=0, contrast=0, saturation=factor, hue=0),
        A.ColorJitter(brightness=0, contrast=factor, saturation=0, hue=0),
        A.Sharpen(),
        A.Posterize(num_bits=(2, 8)),
        A.Solarize(threshold_range=(0, 1)),
        A.AutoContrast(),
        A.Equalize(),
    ]
    for kind in kinds:
        kind.p = 1.0
    return _applied(A.OneOf(kinds, p=1.0))


def _applied(transform: A.BaseCompose) -> Change:
    cv2.setNumThreads(1)
    return lambda array: transform(image=array)["image"]
