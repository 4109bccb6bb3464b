"""CORRUPTIONS: what a camera, a network or a hand may do to a picture, each at three strengths.

Every function takes n×H×W×C uint8 images (C = 1 or 3), a strength of 1, 2 or 3 and a generator,
and gives new images of the same shape. Distances grow with the picture's side. In the spirit of
ImageNet-C (arXiv:1903.12261).
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from imagetrail.base.samples import Images

STRENGTHS = (1, 2, 3)


def noise(images: Images, strength: int, rng: np.random.Generator) -> Images:
    """Gaussian noise, independent in every value, of standard deviation 20, 40 or 70."""
    return _bytes(images + rng.normal(0, (20, 40, 70)[strength - 1], images.shape))


def blur(images: Images, strength: int, rng: np.random.Generator) -> Images:  # noqa: ARG001
    """Gaussian blur of standard deviation 2.5, 5 or 7.5 % of the side, at least 0.4, 0.8 or 1.2."""
    sigma = strength * max(0.4, 0.025 * images.shape[1])

    def soften(image: Images, _: int) -> Images:
        return np.asarray(
            cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.uint8
        )

    return _each(images, soften)


def shift(images: Images, strength: int, rng: np.random.Generator) -> Images:
    """Moved by 7, 14 or 21 % of the side (at least 1, 2 or 3 pixels) in one of eight directions.

    The border is repeated.
    """
    count, height, width = images.shape[:3]
    directions = np.array([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)])
    moves = directions[rng.integers(0, 8, count)] * max(strength, round(0.07 * strength * height))
    rows = (np.arange(height) - moves[:, :1]).clip(0, height - 1)
    columns = (np.arange(width) - moves[:, 1:]).clip(0, width - 1)
    moved: Images = images[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def rotation(images: Images, strength: int, rng: np.random.Generator) -> Images:
    """Turned by 12, 24 or 36 degrees, left or right; the border is repeated."""
    angles = rng.choice([-12.0, 12.0], len(images)) * strength
    height, width = images.shape[1:3]
    middle = ((width - 1) / 2, (height - 1) / 2)

    def turn(image: Images, i: int) -> Images:
        matrix = cv2.getRotationMatrix2D(middle, float(angles[i]), 1.0)
        return np.asarray(
            cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE),
            np.uint8,
        )

    return _each(images, turn)


def contrast(images: Images, strength: int, rng: np.random.Generator) -> Images:  # noqa: ARG001
    """Every value drawn towards the picture's mean: 50, 30 or 15 % of the distance are left."""
    mean = images.mean((1, 2, 3), keepdims=True)
    return _bytes(mean + (0.5, 0.3, 0.15)[strength - 1] * (images - mean))


def occlusion(images: Images, strength: int, rng: np.random.Generator) -> Images:
    """A grey square of 25, 40 or 55 % of the side somewhere in the picture."""
    count, height, width = images.shape[:3]
    side = round((0.25, 0.4, 0.55)[strength - 1] * min(height, width))
    top, left = rng.integers(0, height - side + 1, count), rng.integers(0, width - side + 1, count)
    rows, columns = np.arange(height) - top[:, None], np.arange(width) - left[:, None]
    across, down = (rows >= 0) & (rows < side), (columns >= 0) & (columns < side)
    hidden = across[:, :, None, None] & down[:, None, :, None]
    return np.where(hidden, np.uint8(128), images)


def jpeg(images: Images, strength: int, rng: np.random.Generator) -> Images:  # noqa: ARG001
    """Saved as JPEG of quality 25, 12 or 5, and read again."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, (25, 12, 5)[strength - 1]]

    def squeeze(image: Images, _: int) -> Images:
        saved = cv2.imencode(".jpg", image[..., ::-1], quality)[1]  # OpenCV has blue first
        back = np.asarray(cv2.imdecode(saved, cv2.IMREAD_UNCHANGED), np.uint8)
        return back.reshape(image.shape)[..., ::-1]

    return _each(images, squeeze)


CORRUPTIONS: dict[str, Callable[[Images, int, np.random.Generator], Images]] = {
    "noise": noise,
    "blur": blur,
    "shift": shift,
    "rotation": rotation,
    "contrast": contrast,
    "occlusion": occlusion,
    "jpeg": jpeg,
}


def _bytes(values: NDArray[np.float64]) -> Images:
    rounded: Images = np.rint(values).clip(0, 255).astype(np.uint8)
    return rounded


def _each(images: Images, change: Callable[[Images, int], Images]) -> Images:
    """`change(image, its number)` of each; puts back the axis that OpenCV drops where C is 1."""
    changed = np.empty(images.shape, np.uint8)
    for i, image in enumerate(images):
        changed[i] = change(image, i).reshape(image.shape)
    return changed
