"""Pictures inside the page, as many as fit: it stays small however many classes there are."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imagetrail.base.samples import Images

ROOM = 3_200_000  # bytes of pictures on the page, which is to have 5 MB at most
WIDEST = 1100  # pixels
THUMB = 56  # pixels: the height of a small picture
GAP, COLUMNS = 3, 6  # between small pictures; of them side by side
QUALITY = 82


@dataclass
class Album:
    """Turns pictures into addresses for `src`; None once there is no room for them."""

    room: int = ROOM

    def file(self, path: Path) -> str | None:
        """A picture that another stage drew; None if it is not there."""
        if not path.exists():
            return None
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((WIDEST, image.height))
        return self._address(image)

    def strip(self, images: Sequence[Images]) -> str | None:
        """Small pictures H×W×C uint8 side by side, in rows."""
        small = [_small(image) for image in images]
        width = small[0].width + GAP
        rows = -(-len(small) // COLUMNS)
        whole = Image.new("RGB", (min(len(small), COLUMNS) * width, rows * (THUMB + GAP)), "white")
        for i, image in enumerate(small):
            whole.paste(image, (i % COLUMNS * width, i // COLUMNS * (THUMB + GAP)))
        return self._address(whole)

    def _address(self, image: Image.Image) -> str | None:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=QUALITY)
        text = base64.b64encode(buffer.getvalue()).decode()
        if len(text) > self.room:
            return None
        self.room -= len(text)
        return f"data:image/webp;base64,{text}"


def _small(pixels: Images) -> Image.Image:
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).convert("RGB")
    width = max(1, round(image.width * THUMB / image.height))
    method = Image.Resampling.NEAREST if image.height < THUMB else Image.Resampling.LANCZOS
    return image.resize((width, THUMB), method)
