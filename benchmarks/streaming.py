"""Training on more pictures than fit the window: images a second and peak memory.

On 1, 4 and 16 times the data: the sets are on disk (0.64, 2.6 and 10.2 GB of 64×64 colour
pictures); each training takes in the same number of images in a process of its own. Ours is the
larger set, the peer the 1× set.
"""

import json
import resource
import shutil
import sys
import time
from pathlib import Path

from harness import CACHE, figure, printed_by, write

IMAGES = 52_000  # of the 1× set; as many are trained on, whatever the set
TIMES = (1, 4, 16)
REPEATS = 3


def make(folder: Path, count: int) -> None:
    import numpy as np

    from imagetrail.base import samples

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, count)
    ids = [str(number) for number in range(count)]
    index = samples.make_index(ids=ids, labels=labels, origin="real", sources=ids)
    chunks = (
        rng.integers(0, 256, (len(some), 64, 64, 3), np.uint8) // 2
        + (12 * some)[:, None, None, None].astype(np.uint8)
        for some in (labels[start : start + 4096] for start in range(0, count, 4096))
    )
    samples.write(
        folder, chunks, index, classes=[str(number) for number in range(10)], shape=(64, 64, 3)
    )


def train(folder: Path) -> dict[str, float]:
    from imagetrail.base import samples
    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture
    from imagetrail.training.recipe import Recipe

    pictures = samples.read(folder, columns=["label"])
    recipe = Recipe(model="fast", activation="relu", width=0.25, epochs=1, lr=0.1, batch_size=256)
    begun = loop.start(recipe, pictures, seed=0)
    steps = loop.walk(begun, Mixture(pictures), pictures)
    next(steps)
    done, before = 0, time.perf_counter()
    while done < IMAGES - 512:
        done += next(steps).images  # type: ignore[union-attr]  # the epoch is longer than that
    seconds = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"ms_per_image": 1000 * seconds / done, "peak_gb": peak / 1e9}


def main() -> None:
    folders = {times: CACHE / f"pictures-{times}x" for times in TIMES}
    try:
        for times, folder in folders.items():
            if not folder.exists():
                make(folder, times * IMAGES)
        runs = {times: [] for times in TIMES}  # type: ignore[var-annotated]
        for _ in range(REPEATS):
            for times, folder in folders.items():
                runs[times].append(printed_by([sys.executable, __file__, str(folder)]))
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)
    figures = {}
    for times in TIMES[1:]:
        for key, unit in (("ms_per_image", "ms"), ("peak_gb", "GB")):
            ours, peer = ([run[key] for run in runs[which]] for which in (times, 1))
            figures[f"{key.replace('_', '-')}-{times}x"] = figure(ours, peer, unit)
    write("streaming", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(train(Path(sys.argv[1]))))
    else:
        main()
