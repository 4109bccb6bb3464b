"""What is measured of every picture: a few numbers, and a thumbnail."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels of a thumbnail, at most
FAINT = 8  # grey levels by which the channels of a grey picture may differ


@dataclass(frozen=True)
class Measures:
    """Of one picture, in grey levels where nothing else is said."""

    mean: float
    contrast: float  # standard deviation
    dark: float  # 98 % of the picture are darker
    bright: float  # 98 % are brighter
    sharpness: float  # fine detail beside coarse detail, in powers of two; blur takes the fine one
    border: tuple[float, ...]  # mean of each channel along the edges
    coloured: bool  # its channels differ


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most SIDE×SIDE×C, square, whatever the shape of the H×W×C picture is."""
    height, width, channels = image.shape
    side = min(SIDE, height, width)
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8).reshape(side, side, channels)


def measure(image: NDArray[np.uint8], small: NDArray[np.uint8]) -> Measures:
    """Of an H×W×C picture and its thumbnail."""
    grey = _grey(image)
    mean, deviation = cv2.meanStdDev(grey)
    values = np.sort(small.mean(2).ravel())
    edges = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    return Measures(
        mean=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        dark=float(values[int(0.98 * (len(values) - 1))]),
        bright=float(values[int(0.02 * (len(values) - 1))]),
        sharpness=_sharpness(grey),
        border=tuple(edges.mean(0).tolist()),
        coloured=bool((np.ptp(small.astype(np.int16), axis=2)).max() > FAINT),
    )


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.shape[2] == 1:
        return image[..., 0]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _sharpness(grey: NDArray[np.uint8]) -> float:
    """Of the picture as it is, beside a quarter of it; below a grey level all is noise."""
    quarter = cv2.resize(grey, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    fine, coarse = (cv2.meanStdDev(cv2.Laplacian(part, cv2.CV_32F))[1] for part in (grey, quarter))
    return float(np.log2((fine[0, 0] + 1) / (coarse[0, 0] + 1)))
