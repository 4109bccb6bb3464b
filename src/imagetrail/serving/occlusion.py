"""Where a model looks: blur a patch and see how far its answer falls. No gradients, no torch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from imagetrail.base.samples import Images


def sensitivity(
    predict: Callable[[Images], NDArray[np.float64]], image: NDArray[np.uint8], target: int
) -> NDArray[np.float64]:
    """H×W: how far the probability of class `target` falls when a patch there is blurred.

    The mean over all patches that cover the pixel. Blurring takes away what is there without adding
    an edge of its own (arXiv:1704.03296; patches: arXiv:1311.2901).
    """
    height, width = image.shape[:2]
    patch = _patch(image)
    step = max(1, patch // 2)
    changed_to = blurred(image)
    corners = [
        (top, left)
        for top in range(1 - patch, height, step)
        for left in range(1 - patch, width, step)
    ]
    # They reach over the border, so that every pixel is in equally many.
    areas = [
        (slice(max(0, top), top + patch), slice(max(0, left), left + patch))
        for top, left in corners
    ]
    changed = np.repeat(image[None], len(areas) + 1, 0)
    for copy, area in zip(changed, areas, strict=False):
        copy[area] = changed_to[area]
    probabilities = predict(changed)[:, target]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for area, p in zip(areas, probabilities, strict=False):
        total[area] += probabilities[-1] - p
        count[area] += 1
    fall: NDArray[np.float64] = np.maximum(total / count, 0)
    return fall


def blurred(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture H×W×C without what is smaller than a patch."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    blur = ImageFilter.GaussianBlur(_patch(image))
    return np.asarray(picture.filter(blur)).reshape(image.shape)


def _patch(image: NDArray[np.uint8]) -> int:
    """Pixels of a side."""
    height, width = image.shape[:2]
    return int(max(2, min(height, width) // 5))
