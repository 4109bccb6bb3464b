"""Lays one picture upon another by shift and scale, and says how much of it is left unexplained.

Gauss-Newton on both scales and shifts, with gain and offset of the grey values as further unknowns
(Baker and Matthews, Lucas-Kanade 20 years on, IJCV 56, 2004), for many small pictures at once.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MAX_SCALE = 1.3  # what is cut by 10 % a side is scaled by 1.25
MAX_SHIFT = 0.13  # of the side
STEP = 0.1  # of scale, and of the side, that one step may go


def sampling(scale: Floats, shift: Floats, side: int) -> Floats:
    """P×n×n matrices: row u reads, between two pixels, at middle + scale (u − middle) + shift.

    Beyond the border is the border.
    """
    along, middle = np.arange(side, dtype=np.float32), (side - 1) / 2
    at = middle + scale[:, None] * (along - middle) + shift[:, None]
    at = np.clip(at, 0, side - 1).astype(np.float32)
    weights: Floats = np.maximum(0, 1 - np.abs(at[:, :, None] - along))
    return weights


def softened(images: Floats) -> Floats:
    """…×n×n, each pixel with its neighbours, 1:2:1 both ways.

    The finest detail does not survive that a picture is cut or resized.
    """
    side = images.shape[-1]
    edge, rows = np.eye(side, dtype=np.float32), np.arange(side)
    mixed = edge / 2 + edge[np.maximum(rows - 1, 0)] / 4 + edge[np.minimum(rows + 1, side - 1)] / 4
    return np.asarray(mixed @ images @ mixed.T, np.float32)


def unexplained(first: Floats, second: Floats, zoom: Floats, *, steps: int) -> Floats:
    """The share of the variance of each `second` that the `first`, laid upon it, leaves.

    first, second: P×C×n×n; zoom: P, the scale to begin with. Aligned by the mean of the channels,
    judged on all, with one gain and one offset.
    """
    grey, wanted = first.mean(1), _centred(second.mean(1))
    places = np.zeros((len(first), 4), np.float32)  # scale down and right, shift down and right
    places[:, :2] = zoom[:, None]
    best, found = np.full(len(first), np.inf, np.float32), places.copy()
    for step in range(steps + 1):
        laid = _laid(grey[:, None], places)[:, 0]
        left = _left(_centred(laid), wanted)
        better = left < best
        best[better], found[better] = left[better], places[better]
        if step < steps:
            places = _bounded(places + _step(laid, wanted), grey.shape[1])
    return _left(_centred(_laid(first, found)), _centred(second))


def _laid(images: Floats, places: Floats) -> Floats:
    """P×C×n×n read anew at the places, P×4."""
    side = images.shape[2]
    down = sampling(places[:, 0], places[:, 2], side)[:, None]
    right = sampling(places[:, 1], places[:, 3], side)[:, None]
    return np.asarray(down @ images @ right.transpose(0, 1, 3, 2), np.float32)


def _centred(images: Floats) -> Floats:
    axes = tuple(range(1, images.ndim))
    centred: Floats = images - images.mean(axes, keepdims=True)
    return centred


def _left(laid: Floats, wanted: Floats) -> Floats:
    """1 − R² of centred pictures; a negative one explains nothing."""
    axes = tuple(range(1, laid.ndim))
    both = (laid * wanted).sum(axes)
    scale = np.sqrt((laid**2).sum(axes) * (wanted**2).sum(axes))
    left: Floats = 1 - np.clip(both / np.maximum(scale, 1e-6), 0, 1) ** 2
    return left


def _step(laid: Floats, wanted: Floats) -> Floats:
    """P×4: what least squares would change, the gain solved for beside it."""
    count, side, _ = laid.shape
    along = np.arange(side, dtype=np.float32) - (side - 1) / 2
    down, right = np.gradient(laid, axis=1), np.gradient(laid, axis=2)
    slopes = np.stack([_centred(laid), down * along[:, None], right * along, down, right], 1)
    slopes = slopes.reshape(count, 5, -1)
    slopes -= slopes.mean(2, keepdims=True)
    normal = slopes @ slopes.transpose(0, 2, 1)
    ridge = 1e-4 * np.trace(normal, axis1=1, axis2=2) / 5 + 1e-6
    normal += ridge[:, None, None] * np.eye(5, dtype=np.float32)
    solved = np.linalg.solve(normal, slopes @ wanted.reshape(count, -1, 1))[..., 0]
    gain = np.maximum(solved[:, :1], 0.2)
    limit = STEP * np.array([1, 1, side, side], np.float32)
    step: Floats = np.clip(solved[:, 1:] / gain, -limit, limit)
    return step


def _bounded(places: Floats, side: int) -> Floats:
    low = np.array([1 / MAX_SCALE, 1 / MAX_SCALE, -MAX_SHIFT * side, -MAX_SHIFT * side], np.float32)
    high = np.array([MAX_SCALE, MAX_SCALE, MAX_SHIFT * side, MAX_SHIFT * side], np.float32)
    bounded: Floats = np.clip(places, low, high)
    return bounded
