"""Contact sheets: many small pictures side by side."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont


def contact_sheet(
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    columns: int = 10,
    gap: int = 2,
    *,
    titles: Sequence[str] = (),
) -> Image.Image:
    """The images side by side on white, small ones enlarged to about 56 pixels.

    titles: of the rows, on their left.
    """
    height, width, channels = images[0].shape
    scale = max(1, round(56 / height))
    rows = -(-len(images) // columns)
    font = ImageFont.load_default(12)
    margin = max((int(font.getlength(title)) + 10 for title in titles), default=0)
    down, right = height * scale + gap, width * scale + gap
    sheet = np.full((rows * down, margin + columns * right, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * down, margin + i % columns * right
        large = image.repeat(scale, 0).repeat(scale, 1)
        sheet[top : top + height * scale, left : left + width * scale] = large
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    for row, title in enumerate(titles):
        middle = row * down + height * scale // 2
        ImageDraw.Draw(picture).text((4, middle), title, fill="black", font=font, anchor="lm")
    return picture
