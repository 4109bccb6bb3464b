"""Where the pixels of changed images come from.

A change is a matrix n×3×3 from a place in the new image to one in the old: x before y, in pixels
from the middle. Several are multiplied, the first one first, and the pixels are read once.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

ASPECT = math.log(4 / 3)  # by e to ± this, a crop is wider or higher than the image's own shape
NODES = 5  # of an elastic field, a side
BLOCK = 1 << 19  # values that are worked on together


def matrices(
    count: int,
    xx: Tensor | float = 1.0,
    xy: Tensor | float = 0.0,
    yx: Tensor | float = 0.0,
    yy: Tensor | float = 1.0,
    *,
    right: Tensor | float = 0.0,
    down: Tensor | float = 0.0,
) -> Tensor:
    """n×3×3: (x, y) is read at (xx·x + xy·y + right, yx·x + yy·y + down)."""
    made = torch.zeros(count, 3, 3)
    for place, value in enumerate((xx, xy, right, yx, yy, down)):
        made[:, place // 3, place % 3] = value
    made[:, 2, 2] = 1.0
    return made


def shifts(count: int, rng: torch.Generator, *, most: int) -> Tensor:
    """2×n int64: pixels down and right."""
    return torch.randint(-most, most + 1, (2, count), generator=rng)


def moved(images: Tensor, mirrored: Tensor | None, pixels: Tensor | None) -> Tensor:
    """Mirrored left to right, and moved by whole pixels, so that none is changed.

    The border is repeated. mirrored: n bool; pixels: 2×n, down and right.
    """
    count, height, width = images.shape[:3]
    rows, columns = torch.arange(height).repeat(count, 1), torch.arange(width).repeat(count, 1)
    if mirrored is not None:
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    if pixels is not None:
        rows = (rows + pixels[0, :, None]).clamp(0, height - 1)
        columns = (columns + pixels[1, :, None]).clamp(0, width - 1)
    numbers, rows, columns = (
        places.to(images.device)
        for places in (torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :])
    )
    return images[numbers, rows, columns]


def moving(count: int, mirrored: Tensor | None, pixels: Tensor | None) -> Tensor:
    """The same as matrices."""
    side = 1.0 if mirrored is None else 1.0 - 2.0 * mirrored.float()
    down, right = (0.0, 0.0) if pixels is None else pixels.float()
    return matrices(count, side, right=right, down=down)


def crop(count: int, rng: torch.Generator, *, least: float, sides: tuple[int, int]) -> Tensor:
    """A part of the picture, `least` to all of its area, as large as the picture.

    It lies anywhere within, and is wider or higher than the picture by 4/3 at most: the random
    resized crop of Szegedy et al. (arXiv:1409.4842). sides: H, W in pixels.
    """
    drawn = torch.rand((4, count), generator=rng)
    side = (least + (1 - least) * drawn[0]).sqrt()
    wider = ((drawn[1] - 0.5) * ASPECT).exp()
    wide, high = (side * wider).clamp(max=1), (side / wider).clamp(max=1)
    right, down = ((2 * drawn[2:] - 1) * (1 - torch.stack([wide, high])) / 2).unbind()
    return matrices(count, wide, yy=high, right=right * sides[1], down=down * sides[0])


def affine(
    count: int, rng: torch.Generator, *, rotate: float, zoom: float, shear: float = 0.0
) -> Tensor:
    """Turned and sheared by up to so many degrees, scaled by up to 1 ± `zoom`."""
    drawn = 2 * torch.rand((3, count), generator=rng) - 1
    angle, scale = drawn[0] * math.radians(rotate), 1 / (1 + drawn[1] * zoom)
    slant = (drawn[2] * math.radians(shear)).tan()
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    return matrices(count, cosine, cosine * slant - sine, sine, sine * slant + cosine)


def turns(count: int, rng: torch.Generator, *, sides: tuple[int, int]) -> Tensor:
    """By 0, 90, 180 or 270 degrees; of images that are not square, by 0 or 180.

    sides: H, W in pixels.
    """
    step = 1 if sides[0] == sides[1] else 2
    quarters = step * torch.randint(0, 4 // step, (count,), generator=rng)
    cosine, sine = (1.0 - quarters) * (quarters % 2 == 0), (2.0 - quarters) * (quarters % 2)
    return matrices(count, cosine, -sine, sine, cosine)


def elastic(count: int, rng: torch.Generator, *, pixels: float, sides: tuple[int, int]) -> Tensor:
    """n×H×W×2: by how many pixels, x before y, each place is read elsewhere, smoothly.

    Moves are normal draws at NODES×NODES places, cubic in between: a coarse relative of the field
    of Simard, Steinkraus and Platt (2003), at a fraction of its cost.
    """
    coarse = torch.randn((count, 2, NODES, NODES), generator=rng)
    smooth = functional.interpolate(coarse, sides, mode="bicubic", align_corners=True)
    return (smooth * pixels).permute(0, 2, 3, 1)


def read(images: Tensor, change: Tensor, field: Tensor | None = None) -> Tensor:
    """The images changed, bilinear; the border is repeated. float32.

    field: n×H×W×2 pixels by which a place of the changed image is then read elsewhere.
    """
    count, height, width, channels = images.shape
    device, half = images.device, torch.tensor([width / 2, height / 2])
    columns, rows, middle = (change[:, :2] / half[:, None]).to(device).unbind(2)
    x, y = _from_middle(width, device)[:, None], _from_middle(height, device)[:, None]
    across, along = x * columns[:, None], y * rows[:, None] + middle[:, None]
    seen = torch.empty(count, channels, height, width, device=device)
    for part in blocks(torch.arange(count, device=device), images):
        # a sum that broadcasts: a hundred times as fast as torch's affine_grid
        grid = across[part][:, None] + along[part][:, :, None]
        if field is not None:
            right, down = field.to(device)[part][..., None].unbind(3)
            grid += right * columns[part][:, None, None] + down * rows[part][:, None, None]
        planes = images[part].permute(0, 3, 1, 2).float()
        seen[part] = functional.grid_sample(
            planes, grid, padding_mode="border", align_corners=False
        )
    return seen.permute(0, 2, 3, 1)


def blocks(numbers: Tensor, images: Tensor) -> tuple[Tensor, ...]:
    """Numbers of images in parts that a CPU's cache holds: work on them is twice as fast."""
    whole = images.device.type != "cpu"
    size = len(images) if whole else max(1, BLOCK // math.prod(images.shape[1:]))
    return torch.split(numbers, size) if len(numbers) else ()


def _from_middle(side: int, device: torch.device) -> Tensor:
    """Of each pixel of a side, its middle."""
    return torch.arange(side, device=device) + (1 - side) / 2
