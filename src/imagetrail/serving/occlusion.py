"""Where a model looks: blur a patch and see how far its answer falls. No gradients, no torch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from imagetrail.base.samples import Images

PARTS = 5  # of the shorter side: one is the side of a patch


def sensitivity(
    predict: Callable[[Images], NDArray[np.float64]], image: NDArray[np.uint8], target: int
) -> NDArray[np.float64]:
    """H×W: how far the probability of class `target` falls when a patch there is blurred.

    The mean over the two patches that cover the pixel. Blurring takes away what is there without
    adding an edge of its own (arXiv:1704.03296; patches: arXiv:1311.2901).
    """
    areas, changed_to = _patches(*image.shape[:2]), blurred(image)
    changed = np.repeat(image[None], len(areas) + 1, 0)
    for copy, area in zip(changed, areas, strict=False):
        copy[area] = changed_to[area]
    probabilities = predict(changed)[:, target]
    total = np.zeros(image.shape[:2])
    for area, p in zip(areas, probabilities, strict=False):
        total[area] += probabilities[-1] - p
    fall: NDArray[np.float64] = np.maximum(total / 2, 0)
    return fall


def _patches(height: int, width: int) -> list[tuple[slice, slice]]:
    """Two tilings, the second half a patch further up and left: each pixel is in one of each.

    Of a square 61. All patches half a patch apart are 2.6 times as many, and their maps no truer.
    """
    side = -(-min(height, width) // PARTS)
    return [
        (slice(max(0, top), top + side), slice(max(0, left), left + side))
        for shift in (0, side // 2)
        for top in range(-shift, height, side)
        for left in range(-shift, width, side)
    ]


def blurred(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture H×W×C without what is smaller than a patch."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    blur = ImageFilter.GaussianBlur(max(2, min(image.shape[:2]) // PARTS))
    return np.asarray(picture.filter(blur)).reshape(image.shape)
