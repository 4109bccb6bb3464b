"""Sets that grow: what 1 % more pictures cost, and the memory that many pictures take.

`more`: inspect and split of 20,000 JPEGs of 320×240, brought to 64×64, and again after 200 more
have come. Ours keeps decoded pictures; the peer has lost them before each stage, which decodes all.

`memory`: peak of inspect, of split and of one epoch; the peer is the same with a tenth of the
pictures. `1m` are 1,000,000 of 32×32, `224` are 20,000 of 224×224, each in one file.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from harness import CACHE, HERE, figure, write
from PIL import Image

COUNT = 20_000
SETS = {"1m": (1_000_000, 32), "224": (20_000, 224)}
CLASSES = 10


# ---- what 1 % more pictures cost ----


def picture(number: int, width: int, height: int) -> Image.Image:
    """A smooth picture that no other number has."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def add_files(folder: Path, numbers: range) -> None:
    for number in numbers:
        path = folder / f"class-{number % CLASSES}" / f"{number * 7919 % 1_000_003}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, 320, 240).save(path, quality=90)


def project(root: Path, **data: Any) -> None:
    """A folder in which stages run, with these values of the data section."""
    root.mkdir(parents=True)
    params = yaml.safe_load((HERE.parent / "params.yaml").read_text())
    params["data"] |= {"name": "growing", "source": "own", "path": "pictures", **data}
    params["evaluate"]["unknown"] = None
    params["pretrain"]["related"] = []
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def decoded(root: Path) -> int:
    """How many pictures the store has."""
    from imagetrail.data import shards

    folders = list((root / ".imagetrail/decoded").glob("*"))
    entries = [shards.Shards(folder).entries for folder in folders]
    return sum(int((some["size"] > shards.KEY).sum()) for some in entries)


def stages(root: Path, *, forget: bool) -> tuple[float, int]:
    """Seconds of inspect and split, and pictures decoded; forget: nothing is kept between them."""
    seconds, count, before = 0.0, 0, decoded(root)
    for stage in ("inspect", "split"):
        if forget:
            shutil.rmtree(root / ".imagetrail", ignore_errors=True)
            before = 0
        started = time.perf_counter()
        command(root, stage)
        seconds += time.perf_counter() - started
        count, before = count + decoded(root) - before, decoded(root)
    return seconds, count


def command(root: Path, stage: str) -> None:
    source = str(HERE.parent / "src")
    subprocess.run(
        [sys.executable, "-m", "imagetrail.cli", stage],
        cwd=root,
        env=os.environ | {"PYTHONPATH": source},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def more(count: int = COUNT) -> dict[str, Any]:
    root = CACHE / "growing"
    shutil.rmtree(root, ignore_errors=True)
    project(root, image_size=64, channels=3)
    add_files(root / "pictures", range(count))
    command(root, "fetch")
    time.sleep(2)  # a file that has just changed is not kept
    first, at_first = stages(root, forget=False)
    added = count // 100
    add_files(root / "pictures", range(count, count + added))
    time.sleep(2)
    ours, few = stages(root, forget=False)
    peer, all_twice = stages(root, forget=True)
    shutil.rmtree(root)
    print(f"first {first:.1f} s, {at_first} decoded")
    return {
        "more-first": figure([first], [peer], "s"),
        "more-seconds": figure([ours], [peer], "s"),
        "more-decoded": figure([few], [all_twice], "pictures"),
    }


# ---- the memory that many pictures take ----


def pack(folder: Path, count: int, side: int) -> None:
    """PNGs one after the other in one file, as a Parquet file has them."""
    folder.mkdir(parents=True)
    ends = np.zeros(count + 1, np.int64)
    with (folder / "pictures").open("wb") as file:
        for number in range(count):
            picture(number, side, side).save(file, "PNG", compress_level=1)
            ends[number + 1] = file.tell()
    np.save(folder / "ends.npy", ends)


def packed(folder: Path, count: int) -> Any:
    """The first so many of them."""
    from imagetrail.data import decoding
    from imagetrail.data.pictures import Pictures

    ends, file = np.load(folder / "ends.npy"), os.open(folder / "pictures", os.O_RDONLY)

    def content(i: int) -> bytes:
        return os.pread(file, int(ends[i + 1] - ends[i]), int(ends[i]))

    return Pictures(
        tuple(map(str, range(CLASSES))),
        np.arange(count) % CLASSES,
        ("",) * count,
        tuple(f"pictures#{i}" for i in range(count)),
        lambda i, target: decoding.read(BytesIO(content(i)), target),
        content=content,
    )


def stage_on_packed(stage: str, folder: Path, count: int) -> None:
    """In a project folder: a stage on the first so many pictures of a file."""
    from imagetrail.cli.stage import run_stage
    from imagetrail.data import arrival, store

    arrival.read = lambda data: store.kept(packed(folder, count), data.target)
    if stage == "epoch":
        epoch()
    else:
        run_stage(stage)


def epoch() -> None:
    """One epoch on data/split/train; prints nothing, writes artifacts/epoch/timing.json."""
    import resource

    from imagetrail.base import paths, samples
    from imagetrail.base.files import write_json
    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture
    from imagetrail.training.recipe import Recipe

    train = samples.read(paths.TRAIN, columns=["label"])
    recipe = Recipe(model="linear", activation="relu", epochs=1, lr=0.1, batch_size=256)
    begun = loop.start(recipe, train, seed=0)
    for _ in loop.fit(begun, Mixture(train), samples.read(paths.VALID, columns=["label"])):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    write_json(paths.artifacts("epoch") / "timing.json", {"peak_rss_bytes": peak})


def memory(name: str, count: int, side: int) -> dict[str, Any]:
    folder = CACHE / f"packed-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    pack(folder, count, side)
    peaks: dict[str, list[float]] = {}
    for size in (count // 10, count):
        root = CACHE / f"growing-{name}"
        shutil.rmtree(root, ignore_errors=True)
        project(root, image_size=side, channels=3)
        (root / "pictures").mkdir()
        for others in ("related", "unknown"):
            (root / f"data/{others}").mkdir(parents=True)
            (root / f"data/{others}/datasets.json").write_text("[]")
        for stage in ("inspect", "split", "epoch"):
            script = [sys.executable, str(HERE / "growing.py"), stage, str(folder), str(size)]
            started = time.perf_counter()
            subprocess.run(script, cwd=root, check=True, stdout=subprocess.DEVNULL)
            timing = json.loads((root / f"artifacts/{stage}/timing.json").read_text())
            peaks.setdefault(stage, []).append(timing["peak_rss_bytes"] / 1e9)
            print(name, size, stage, peaks[stage][-1], time.perf_counter() - started, flush=True)
    shutil.rmtree(root)
    shutil.rmtree(folder)
    return {
        f"memory-{name}-{stage}": figure([all_of], [tenth], "GB")
        for stage, (tenth, all_of) in peaks.items()
    }


def main() -> None:
    figures = more()
    for name, (count, side) in SETS.items():
        figures |= memory(name, count, side)
    write("growing", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        stage_on_packed(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
