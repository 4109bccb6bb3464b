"""What safety costs: the same training with and without checkpoints, and with and without MLflow.

Sides alternate within one process. Ours is with, the peer without: a ratio of 0.98 is a cost of
2 %.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from harness import HERE, figure, load, write

from imagetrail.base.samples import Samples
from imagetrail.tracking.live import Live
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.checkpoints import Keeper
from imagetrail.training.history import as_row
from imagetrail.training.loop import Epoch, Step
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training

REPEATS = 5
EPOCHS = 3
Take = Callable[[Step | Epoch], object]


def train(safe: Callable[[Training, Path], AbstractContextManager[Take]], folder: Path) -> float:
    """Seconds of a training whose events `safe` takes, until all is written."""
    train, test = load("fashion-mnist")
    few = Samples(test.images[:1000], test.index[:1000], test.classes)
    recipe = Recipe(model="fast", activation="relu", width=0.5, epochs=EPOCHS, lr=0.1, ema=0.99)
    begun = loop.start(recipe, train, seed=0)
    before = time.perf_counter()
    with safe(begun, folder) as take:
        for event in loop.walk(begun, Mixture(train, limit=30_000), few):
            take(event)
    return time.perf_counter() - before


@contextmanager
def nothing(_: Training, __: Path) -> Iterator[Take]:
    yield lambda _: None


@contextmanager
def checkpoints(begun: Training, folder: Path) -> Iterator[Take]:
    keeper = Keeper(folder / "checkpoint.safetensors", begun)
    yield lambda event: keeper.save_if_due() if isinstance(event, Step) else keeper.save()


@contextmanager
def tracked(_: Training, folder: Path) -> Iterator[Take]:
    shutil.copy(HERE.parent / "params.yaml", folder)  # has the experiment's name
    log = Live("train", {}, folder)
    yield lambda event: log.epoch(as_row(event)) if isinstance(event, Epoch) else None
    log.end("FAILED")  # there are no files of a stage that went well


def main() -> None:
    for name, safe in (("resume_cost", checkpoints), ("tracking_cost", tracked)):
        ours, peer = [], []
        with tempfile.TemporaryDirectory() as folder:
            train(
                safe, Path(folder)
            )  # once unmeasured: the store is made, and files come into the page cache
            for _ in range(REPEATS):
                peer.append(train(nothing, Path(folder)))
                ours.append(train(safe, Path(folder)))
        write(name, (__doc__ or "").strip(), {name.split("_")[0]: figure(ours, peer, "s")})


if __name__ == "__main__":
    main()
