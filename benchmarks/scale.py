"""Ten million pictures and 1,000 trials, on paper: nothing here was run at that size.

The search is ours, with 1,000 trials of params.yaml, but for trainings, which a curve with noise
stands for; their legs are then dealt to workers by the clock of other benchmarks: milliseconds a
picture of 64×64 and network of a quarter of the width (streaming), seconds a gigabyte to a node
(cluster), photos decoded a second (decode). Nodes live 30 days in the mean, the net has 10 Gbit/s.
What of memory and storage grows with pictures was measured on 100,000 of them or 6,000 files, and
multiplied. *Ours* is the cluster, the peer one machine; both train every trial on all pictures.
"""

import heapq
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from harness import HERE, figure, write

PICTURES, TRAINED, SIDE = 10_000_000, 0.8, 64  # in all; of them in train; pixels
TRIALS = 1000
NETWORK = 1.25  # GB/s that the head sends: 10 Gbit/s
LOST = 30 * 86400.0  # seconds that a node lives, in the mean
DAY = 86400.0
MEASURED = 100_000  # pictures whose index is measured
FILES = 2_000  # files that DVC is measured with
SHAPES = {
    "one machine": (1, 2, 4),
    "16 nodes of 8 cores": (16, 8, 4),
    "the same, tune.batch 128": (16, 8, 128),
}


def result(name: str, key: str) -> float:
    """What another benchmark has measured."""
    found = json.loads((HERE / f"results/{name}.json").read_text())
    return float(found["figures"][key]["ours"])


# ---- the search ----


def rounds(batch: int) -> tuple[list[list[int]], float]:
    """Epochs of each leg, round by round, of a search; and the seconds it took to decide them."""
    from imagetrail.stages.tune.params import Tune
    from imagetrail.stages.tune.search import Leg, Report, search

    section = yaml.safe_load((HERE.parent / "params.yaml").read_text())["tune"]
    tune = Tune(**section | {"trials": TRIALS, "batch": batch, "images": None})
    found: list[list[int]] = []

    def run(legs: Sequence[Leg]) -> Iterator[Report]:
        found.append([leg.until - leg.since for leg in legs])
        for leg in legs:
            off = (
                math.log(leg.values["lr"] / 0.1) ** 2
                + math.log(leg.values["weight_decay"] / 0.05) ** 2
            )
            noise = random.Random(f"{leg.number} {leg.until}").gauss(0, 0.003)
            score = 0.9 - 0.03 * off - 0.2 * math.exp(-leg.until / 2) + noise
            yield Report(score, [{}] * leg.until)

    before = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trials = list(search(tune, run, seed=0, folder=Path(folder)))
    assert len(trials) == TRIALS
    return found, time.process_time() - before


def dealt(legs: list[list[int]], *, nodes: int, cores: int, epoch: float) -> dict[str, float]:
    """Seconds until all rounds are done, the share of them that workers worked, legs done again."""
    rng, now, worked, lost = random.Random(0), 0.0, 0.0, 0
    for some in legs:
        free = [now] * (nodes * cores)
        for epochs in some:
            seconds, start = epochs * epoch, heapq.heappop(free)
            while nodes > 1 and (died := rng.expovariate(1 / LOST)) < seconds:
                start, lost = start + died, lost + 1  # begun again, at once, elsewhere
            heapq.heappush(free, start + seconds)
            worked += seconds
        now = max(free)
    return {"seconds": now, "busy": worked / now / nodes / cores, "lost": lost}


# ---- what grows ----


def index_bytes() -> float:
    """Memory of what a worker has of each picture, beside its pixels on the disk."""
    from imagetrail.base import samples

    ids = [f"{number:024x}" for number in range(MEASURED)]
    index = samples.make_index(ids=ids, labels=[0] * MEASURED, origin="real", sources=ids)
    return float(index.select(["id", "label", "parent"]).nbytes / MEASURED)


def checkpoint_bytes() -> float:
    """Of the network and recipe of params.yaml, on pictures of this size."""
    import numpy as np

    from imagetrail.base.samples import Samples, make_index
    from imagetrail.training import checkpoints, loop
    from imagetrail.training.batches import Mixture
    from imagetrail.training.recipe import Recipe

    params = yaml.safe_load((HERE.parent / "params.yaml").read_text())["recipe"]
    recipe = Recipe(**params | {"epochs": 1, "repeat_to": 0})
    ids = [str(number) for number in range(512)]
    index = make_index(
        ids=ids, labels=[number % 10 for number in range(512)], origin="real", sources=ids
    )
    pixels = np.random.default_rng(0).integers(0, 256, (512, SIDE, SIDE, 3), np.uint8)
    some = Samples(pixels, index, tuple("0123456789"))
    training = loop.start(recipe, some, seed=0)
    list(loop.fit(training, Mixture(some), some))
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(Path(folder) / "checkpoint", training)
        return float((Path(folder) / "checkpoint").stat().st_size)


def dvc() -> float:
    """Seconds that each file more costs `dvc add`."""
    seconds = []
    quiet = os.environ | {"DVC_NO_ANALYTICS": "1"}
    for files in (FILES, 3 * FILES):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "raw").mkdir()
            for number in range(files):
                (root / f"raw/{number}.png").write_bytes(str(number).encode())
            for words in (("init", "--no-scm"), ("add", "raw")):
                before = time.perf_counter()
                command = [sys.executable, "-m", "dvc", *words, "--quiet"]
                subprocess.run(command, cwd=root, env=quiet, check=True)
            seconds.append(time.perf_counter() - before)
    return (seconds[1] - seconds[0]) / (2 * FILES)


# ---- the page ----


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    ms = 2 * result("streaming", "ms-per-image-16x")  # a worker has one core, that had two
    epoch = PICTURES * TRAINED * ms / 1000
    pixels = PICTURES * SIDE * SIDE * 3 / 1e9
    sent = max(result("cluster", "copied"), 1 / NETWORK)  # seconds a GB, to one node
    searches = {batch: rounds(batch) for batch in {batch for *_, batch in SHAPES.values()}}
    weights, each = checkpoint_bytes(), dvc()
    rows, days = [], {}
    for name, (nodes, cores, batch) in SHAPES.items():
        legs, decided = searches[batch]
        found = dealt(legs, nodes=nodes, cores=cores, epoch=epoch)
        travel = 0.0 if nodes == 1 else pixels * max(sent, nodes / NETWORK)
        days[name] = (found["seconds"] + travel + decided) / DAY
        epochs = sum(map(sum, legs))
        gigabytes = 0.0 if nodes == 1 else nodes * pixels + 2 * weights * sum(map(len, legs)) / 1e9
        cells = [
            name,
            f"{epochs:,}",
            f"{days[name]:,.0f}",
            f"{found['busy']:.0%}",
            f"{travel / 3600:.1f}",
            f"{gigabytes:,.0f}",
            f"{found['lost']:.0f}",
            f"{decided:,.0f}",
        ]
        rows.append(_row(cells))
    decoding = PICTURES / result("decode", "against-processes") / 3600
    growing = [
        ("decoding photos of 12 megapixels, on two cores", f"{decoding:,.0f} hours, once"),
        (
            "pixels of data/split, and again in DVC's cache where it cannot link",
            f"{pixels:,.0f} GB",
        ),
        (
            "pixels that inspect and split keep in .imagetrail/decoded, at most",
            f"{2 * pixels:,.0f} GB",
        ),
        ("object store of the head, most of it spilled to its disk", f"{pixels:,.0f} GB"),
        ("cache of each node", f"{pixels:,.0f} GB"),
        ("ids and labels in memory, for each worker", f"{PICTURES * index_bytes() / 1e9:.1f} GB"),
        ("a checkpoint of the network of params.yaml", f"{weights / 1e6:.1f} MB"),
        ("`dvc add` of as many files", f"{PICTURES * each / 3600:,.1f} hours"),
    ]
    columns = ["search", "epochs", "days", "workers busy", "hours until data is there"]
    columns += ["GB sent", "legs lost", "seconds to decide"]
    search = [_row(columns), _row(["---"] * len(columns)), *rows]
    grown = [_row(["what grows with pictures", "10 million"]), _row(["---"] * 2)]
    table = "\n".join([*search, "", *grown, *map(_row, growing)])
    alone, _, wide = days.values()
    about = f"{(__doc__ or '').strip()}\n\n{table}"
    write("scale", about, {"search": figure([wide], [alone], "days")})


if __name__ == "__main__":
    main()
