"""Pictures show what they are given."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
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


ODD = ["$5_to_$10", "x_y^z", "$\\frac{$", "<b>&amp;", "-1", "null"]


def test_names_of_any_kind_are_drawn_as_they_are(tmp_path: Path) -> None:
    images = np.zeros((len(ODD), 4, 4, 1), np.uint8)
    arm = {"mean": 0.5, "low": 0.4, "high": 0.6, "verdict": "reference"}
    charts.confusion(np.eye(len(ODD), dtype=np.int64), ODD, tmp_path / "confusion.png")
    charts.gallery(images, ODD, tmp_path / "gallery.png")
    charts.intervals([arm | {"arm": ODD[0]}], tmp_path / "intervals.png")
    maps = np.zeros((len(ODD), 4, 4), np.float32)
    charts.saliency(images, maps, ODD, tmp_path / "saliency.png")
    assert Text(text=ODD[0]).get_parse_math() is False
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_characters_that_no_font_has_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    charts.gallery(np.zeros((1, 4, 4, 1), np.uint8), ["\ue000"], tmp_path / "gallery.png")
    assert "no font here has all characters" in capsys.readouterr().err
    charts.gallery(np.zeros((1, 4, 4, 1), np.uint8), ["Größe"], tmp_path / "gallery.png")
    assert not capsys.readouterr().err
