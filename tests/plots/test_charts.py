"""Pictures show what they are given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagetrail.plots import charts

CELL = 132  # pixels: 1.2 inches of 110 dots


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gallery_shows_each_picture_upright_under_its_caption(
    tmp_path: Path, channels: int
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, channels), np.uint8)
    charts.gallery(images, ["a", "b", "c"], tmp_path / "gallery.png", columns=2)
    drawn = np.asarray(Image.open(tmp_path / "gallery.png").convert("RGB"))
    middles = 0.03 + 0.94 * (np.arange(4) + 0.5) / 4  # of a tile's pixels, in cells
    for i, image in enumerate(images):
        rows = ((i // 2 + 1) * 1.15 - 1 + middles) * CELL
        columns = (i % 2 + middles) * CELL
        tile = drawn[np.ix_(rows.astype(int), columns.astype(int))]
        assert np.abs(tile.astype(int) - image).max() <= 1
