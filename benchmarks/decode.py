"""A folder of phone-size photos on its way into the pipeline: pictures a second.

120 JPEGs of 4000×3000, enlarged from parts of two real photos, to 224×224 in colour, on all cores,
files in the system's cache. Ours judges, turns, converts and fits each picture as `inspect` and
`split` do. The peers open, draft, load and fit with Pillow alone, in a pool of threads and in one
of processes.
"""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from harness import CACHE, figure, write
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from imagetrail.base.files import replacing
from imagetrail.data import decoding
from imagetrail.data.decoding import Target
from imagetrail.data.pictures import Pictures

COUNT, SIZE, SIDE, REPEATS = 120, (4000, 3000), 224, 7


def make(folder: Path) -> None:
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        for number in range(COUNT):
            photo, width = photos[number % 2], int(rng.integers(400, 560))
            left, top = rng.integers(0, (photo.width - width, photo.height - width * 3 // 4))
            part = (left, top, left + width, top + width * 3 / 4)
            large = photo.resize(SIZE, Image.Resampling.BICUBIC, part)
            large.save(temporary / f"{number:03d}.jpg", quality=92)


def ours(files: list[Path]) -> Iterable[NDArray[np.uint8]]:
    empty = ("",) * len(files)
    labels = np.zeros(len(files), np.int64)
    read = lambda number, target: decoding.read(files[number], target)  # noqa: E731
    pictures = Pictures(("photo",), labels, empty, empty, read)
    return pictures.readable(range(len(files)), Target((SIDE, SIDE, 3)))


def drafted(file: Path) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        image.draft("RGB", (SIDE, SIDE))
        fitted = ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def threads(files: list[Path]) -> Iterable[NDArray[np.uint8]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(drafted, files)


def per_second(
    work: Callable[[list[Path]], Iterable[NDArray[np.uint8]]], files: list[Path]
) -> float:
    before = time.perf_counter()
    assert sum(1 for _ in work(files)) == len(files)
    return len(files) / (time.perf_counter() - before)


def main() -> None:
    folder = CACHE / "photos"
    if not folder.exists():
        make(folder)
    files = sorted(folder.iterdir())
    with Pool(os.cpu_count()) as pool:
        peers = {"threads": threads, "processes": lambda some: pool.imap(drafted, some)}
        rates: dict[str, list[float]] = {"ours": [], **{name: [] for name in peers}}
        for _ in range(REPEATS + 1):  # the first warms up
            for name, work in {"ours": ours, **peers}.items():
                rates[name].append(per_second(work, files))
    mine = rates["ours"][1:]
    figures = {
        f"against-{name}": figure(mine, rates[name][1:], "pictures/s", more_is_better=True)
        for name in peers
    }
    write("decode", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    main()
