"""What a network leans on."""

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.samples import Images
from imagetrail.stages.explain import shortcuts


def marked(channels: int) -> tuple[Images, NDArray[np.bool_]]:
    """Noise, half of which has a bright mark in its corner."""
    images = np.random.default_rng(0).integers(0, 80, (40, 16, 16, channels), np.uint8)
    bright = np.arange(40) % 2 == 0
    images[bright, 0, 0] = 255
    return images, bright


def by_without(images: Images, right: shortcuts.Right) -> dict[object, dict[str, str | float]]:
    return {row["without"]: row for row in shortcuts.check(images, right)}


def test_a_network_that_reads_a_mark_in_the_corner_loses_by_a_blurred_border_alone() -> None:
    images, bright = marked(1)
    found = by_without(images, lambda some: (some[:, 0, 0, 0] > 200) == bright)
    assert [*found] == ["border", "surroundings", "centre"]  # grey: there is no colour to lose
    assert found["border"]["difference"] == -0.5
    assert float(found["border"]["difference_high"]) < 0 < float(found["centre"]["difference_high"])
    assert found["centre"]["difference"] == 0 and found["centre"]["top1"] == 1


def test_a_network_that_reads_the_colour_loses_without_it() -> None:
    images, _ = marked(3)
    images[::2, :, :, 0] = 200
    red = np.arange(40) % 2 == 0

    def right(some: Images) -> NDArray[np.bool_]:
        mean = some.mean((1, 2))
        return np.asarray((mean[:, 0] > mean[:, 1] + 20) == red)

    found = by_without(images, right)
    assert found["colour"]["difference"] == -0.5 and found["border"]["difference"] == 0


def test_no_interval_has_width_0() -> None:
    images, _ = marked(1)
    rows = shortcuts.check(images, lambda some: np.ones(len(some), np.bool_))
    assert all(float(r["difference_low"]) < 0 < float(r["difference_high"]) for r in rows)
