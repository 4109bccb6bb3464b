"""Pictures show what they are given."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from imagetrail.plots import charts
from imagetrail.plots.sheets import contact_sheet

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


def test_a_saliency_map_lies_upright_beside_its_picture(tmp_path: Path) -> None:
    """Of picture and map only the upper half is bright."""
    image = np.zeros((1, 4, 4, 1), np.uint8)
    image[0, :2] = 255
    heat = np.zeros((1, 4, 4), np.float32)
    heat[0, :2] = 1
    charts.saliency(image, heat, ["a"], tmp_path / "maps.png")
    drawn = np.asarray(Image.open(tmp_path / "maps.png").convert("L"), float)
    for left in (0, 1):  # of a row of four pairs
        columns = slice(
            int((left + 0.4) * drawn.shape[1] / 8), int((left + 0.6) * drawn.shape[1] / 8)
        )
        tile = drawn[20:-20, columns].mean(1)
        assert tile[: len(tile) // 2].mean() > tile[len(tile) // 2 :].mean() + 50


def test_a_contact_sheet_has_its_pictures_upright_and_in_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    sheet = np.asarray(contact_sheet(images, columns=2, gap=2))
    for i, image in enumerate(images):
        top, left = i // 2 * 58, i % 2 * 58
        assert (sheet[top : top + 56 : 2, left : left + 56 : 2] == image[..., 0]).all()


ODD = ["$5_to_$10", "x_y^z", "$\\frac{$", "<b>&amp;", "-1", "null"]


def test_names_of_any_kind_are_drawn_as_they_are(tmp_path: Path) -> None:
    images = np.zeros((len(ODD), 4, 4, 1), np.uint8)
    charts.confusion(np.eye(len(ODD), dtype=np.int64), ODD, tmp_path / "confusion.png")
    charts.gallery(images, ODD, tmp_path / "gallery.png")
    maps = np.zeros((len(ODD), 4, 4), np.float32)
    charts.saliency(images, maps, ODD, tmp_path / "saliency.png")
    assert Text(text=ODD[0]).get_parse_math() is False
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_characters_that_no_font_has_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    charts.gallery(np.zeros((1, 4, 4, 1), np.uint8), ["\ue000"], tmp_path / "gallery.png")
    assert "no font here has all characters" in capsys.readouterr().err
    charts.gallery(np.zeros((1, 4, 4, 1), np.uint8), ["Größe"], tmp_path / "gallery.png")
    assert not capsys.readouterr().err
