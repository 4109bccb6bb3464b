"""What safety costs: the same training with and without checkpoints, and with and without MLflow.

Sides alternate within one process. Ours is with, the peer without: a ratio of 0.98 is a cost of 2 %.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import HERE, figure, load, write

REPEATS = 5
EPOCHS = 3


def train(safe: Callable[[object, Path], object], folder: Path) -> float:
    """Seconds of a training whose events `safe` takes."""
    from imagetrail import training
    from imagetrail.batches import Mixture
    from imagetrail.samples import Samples
    from imagetrail.training import Recipe

    train, test = load("fashion-mnist")
    few = Samples(test.images[:1000], test.index[:1000], test.classes)
    recipe = Recipe(model="fast", activation="relu", width=0.5, epochs=EPOCHS, lr=0.1, ema=0.99)
    begun = training.start(recipe, train, seed=0)
    take = safe(begun, folder)
    before = time.perf_counter()
    for event in training.walk(begun, Mixture(train, limit=30_000), few):
        take(event)  # type: ignore[operator]
    return time.perf_counter() - before


def nothing(_: object, __: Path) -> Callable[[object], None]:
    return lambda _: None


def checkpoints(begun: object, folder: Path) -> Callable[[object], None]:
    from imagetrail.checkpoints import Keeper
    from imagetrail.training import Step

    keeper = Keeper(folder / "checkpoint.safetensors", begun)  # type: ignore[arg-type]
    return lambda event: keeper.save_if_due() if isinstance(event, Step) else keeper.save()


def tracked(_: object, folder: Path) -> Callable[[object], None]:
    from imagetrail import tracking
    from imagetrail.history import as_row
    from imagetrail.training import Epoch

    shutil.copy(HERE.parent / "params.yaml", folder)  # has the experiment's name
    store = tracking.open_store(folder)
    log = tracking.Live(store, store.create("train", {}))
    return lambda event: log.epoch(as_row(event)) if isinstance(event, Epoch) else None


def main() -> None:
    for name, safe in (("resume_cost", checkpoints), ("tracking_cost", tracked)):
        ours, peer = [], []
        with tempfile.TemporaryDirectory() as folder:
            train(safe, Path(folder))  # once unmeasured: the store is made, and files come into the page cache
            for _ in range(REPEATS):
                peer.append(train(nothing, Path(folder)))
                ours.append(train(safe, Path(folder)))
        write(name, (__doc__ or "").strip(), {name.split("_")[0]: figure(ours, peer, "s")})


if __name__ == "__main__":
    main()
