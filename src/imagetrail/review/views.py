"""Pictures as a browser shows them: whole, in their own shape, no larger than a screen needs."""

import io
import os
import threading
from functools import lru_cache

from PIL import Image

from imagetrail.data.decoding import Facts, Target
from imagetrail.data.pictures import Examined, Pictures

SIDES = {"small": 224, "large": 1600}  # pixels of the longer side, at most
LOSSLESS = 256 * 256  # pixels: up to there a PNG is small enough


class Views:
    """Decodes on demand; as many at a time as there are cores, which bounds memory."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._free = threading.Semaphore(os.cpu_count() or 1)
        self.facts = lru_cache(maxsize=4096)(self._facts)

    def read(self, i: int, target: Target) -> Examined:
        """Picture number i as `target` says, and what its file is; raises Unreadable."""
        with self._free:
            return self._pictures.read(i, target)

    def _facts(self, i: int) -> Facts:
        """What the file of picture number i is; raises Unreadable."""
        return self.read(i, Target((8, 8, 3)))[1]

    def encoded(self, i: int, size: str) -> tuple[bytes, str]:
        """A PNG or JPEG of picture number i, and its media type; raises Unreadable."""
        facts = self.facts(i)
        scale = min(1.0, SIDES[size] / max(facts.width, facts.height))
        height, width = (max(1, round(side * scale)) for side in (facts.height, facts.width))
        image = Image.fromarray(self.read(i, Target((height, width, 3)))[0])
        file = io.BytesIO()
        if height * width <= LOSSLESS:
            image.save(file, "PNG")
            return file.getvalue(), "image/png"
        image.save(file, "JPEG", quality=90)
        return file.getvalue(), "image/jpeg"
