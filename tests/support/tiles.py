"""Small real photos, none of which shows what another shows, and sets of pictures made of them."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from imagetrail.data.decoding import Facts, Target, Unreadable
from imagetrail.data.pictures import Examined, Pictures

Images = NDArray[np.uint8]


@cache
def tiles(side: int = 48) -> Images:
    """N×side×side×3: parts of scikit-learn's two photos that do not overlap, and show something."""
    parts = np.stack(
        [
            photo[top : top + side, left : left + side]
            for photo in load_sample_images().images
            for top in range(0, photo.shape[0] - side + 1, side)
            for left in range(0, photo.shape[1] - side + 1, side)
        ]
    )
    return parts[(parts.mean(3).std((1, 2)) > 20) & (np.abs(parts.mean((1, 2, 3)) - 128) < 80)]


def jpeg(image: Images, quality: int = 80) -> Images:
    saved = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(saved, cv2.IMREAD_UNCHANGED), np.uint8).reshape(image.shape)


def pictures_of(
    images: Sequence[Images] | Images,
    labels: Sequence[int] | NDArray[np.int64],
    *,
    classes: Sequence[str] = ("cat", "dog"),
    splits: Sequence[str] = (),
    names: Sequence[str] = (),
    facts: Mapping[int, Mapping[str, Any]] | None = None,
    broken: Sequence[int] = (),
    **more: Any,
) -> Pictures:
    """Pictures as JPEG files would be; facts: of some, what differs."""
    count = len(images)

    def read(i: int, _: Target) -> Examined:
        if i in broken:
            raise Unreadable("damaged")
        image = images[i]
        saved = cv2.imencode(".jpg", image)[1]
        mode = "L" if image.shape[2] == 1 else "RGB"
        plain = {
            "format": "JPEG",
            "width": image.shape[1],
            "height": image.shape[0],
            "mode": mode,
            "bytes": len(saved),
            "camera": "",
        }
        return image, Facts(**(plain | dict((facts or {}).get(i, {}))))

    return Pictures(
        tuple(classes),
        np.asarray(labels, np.int64),
        tuple(splits or [""] * count),
        tuple(names or [f"{classes[labels[i]]}/{i}.jpg" for i in range(count)]),
        read,
        **more,
    )
