"""Augmentation: images a second of the stage, on all cores, against the usual loop.

Ours has one draw for 64 images. The loop is `[compose(image=image)["image"] for image in images]`
with the same policy, in one process; ours writes the images and their index to disk as well, with
workers that are up. `accuracy`: the same training on 100 pictures of MNIST a class and 20 new
versions of each, ours from draws for groups of 64, the peer's from a draw for every image; `none`
is without the new versions. Both judged on the 10,000 test pictures.

`crop…` (a random resized crop and a flip) and `trivial…` (TrivialAugment) are random changes in
training, on colour pictures of 160 and 224 pixels, each with a draw of its own: ours a batch of 64
at once, the peers picture after picture, all on one core. `alone` has the images/s of each of our
changes, on all cores as in training, beside `step`: those that EfficientNet-Lite0 learns.
"""

import os
import tempfile
import time
from statistics import mean, median

import numpy as np
import one_by_one
import torch
from harness import HERE, accuracy, figure, load, write
from roofline import photo_steps

from imagetrail.base import paths, samples
from imagetrail.base.samples import Samples
from imagetrail.models import inference
from imagetrail.stages.augment.policy import build
from imagetrail.stages.augment.presets import PRESETS
from imagetrail.stages.augment.stage import make
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import Recipe
from imagetrail.training.transforms import Jitter

GROUP = 64
REPEATS = 5
COPIES = 4  # of 60,000 images: what is timed
LOOPED = 10_000  # images of the plain loop
SEEDS = 5
PER_CLASS, VERSIONS = 100, 20
BATCH = 64  # photos
CHANGES = {
    "crop": {"crop": one_by_one.LEAST, "flip": True},
    "trivial": {"trivial": 1.0},
    "flip": {"flip": True},
    "flip and shift": {"flip": True, "shift": 8},
    "affine": {"rotate": 15.0, "zoom": 0.2, "shear": 5.0},
    "elastic": {"elastic": 2.0},
    "randaugment": {"randaugment": 2},
    "erase": {"erase": 0.5},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "five at once": {"crop": 0.3, "flip": True, "trivial": 1.0, "erase": 0.25, "cutmix": 1.0},
}
RECIPE = {
    "model": "fast",
    "activation": "relu",
    "width": 0.5,
    "epochs": 4,
    "lr": 0.1,
    "weight_decay": 0.05,
    "ema": 0.99,
}


def speed() -> dict[str, object]:
    policy = PRESETS["objects"]
    train = put(load("fashion-mnist")[0])
    compose = build(policy, train.images.shape[1:])
    images = np.asarray(train.images[:LOOPED])
    before = time.perf_counter()
    make(train, policy, copies=1, group=GROUP, seed=0)
    start = time.perf_counter() - before
    ours, peer = [], []
    for repeat in range(REPEATS):
        before = time.perf_counter()
        _ = [compose(image=image)["image"] for image in images]
        peer.append(len(images) / (time.perf_counter() - before))
        before = time.perf_counter()
        make(train, policy, copies=COPIES, group=GROUP, seed=repeat)
        ours.append(COPIES * len(train) / (time.perf_counter() - before))
    return figure(
        ours, peer, "images/s", more_is_better=True, first_60000_with_start_of_workers_seconds=start
    )


def put(train: Samples) -> Samples:
    """The images where the stage looks for them."""
    samples.write(
        paths.TRAIN,
        [train.images],
        train.index,
        classes=train.classes,
        shape=train.images.shape[1:],
    )
    return samples.read(paths.TRAIN)


def judged(seed: int, train: Samples, test: Samples, group: int) -> float:
    """Test accuracy after learning `train` and new versions of it; group 0: without."""
    new = train
    if group:
        make(train, PRESETS["digits"], copies=VERSIONS, group=group, seed=seed)
        new = samples.read(paths.AUGMENTED)
    recipe = Recipe(**RECIPE, augmented=0.8 if group else 0.0, repeat_to=10_000)
    begun = loop.start(recipe, train, seed=seed)
    few = Samples(test.images[:100], test.index[:100], test.classes)
    for _ in loop.fit(
        begun, Mixture(train, ((new, recipe.augmented),), repeat_to=recipe.repeat_to), few
    ):
        pass
    return float((inference.predict(begun.outcome, test).argmax(1).numpy() == test.labels).mean())


def accuracies() -> dict[str, object]:
    whole, test = load("mnist")
    top1: dict[int, list[float]] = {GROUP: [], 1: [], 0: []}
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(whole))
        chosen = np.concatenate(
            [order[whole.labels[order] == label][:PER_CLASS] for label in range(10)]
        )
        train = put(Samples(whole.images[chosen], whole.index.take(chosen), whole.classes))
        for group, found in top1.items():
            found.append(judged(seed, train, test, group))
        print(
            f"seed {seed}: "
            + ", ".join(f"group {group}: {found[-1]:.2%}" for group, found in top1.items()),
            flush=True,
        )
    return accuracy(top1[GROUP], top1[1], none=mean(top1[0]))


def photos(side: int) -> dict[str, dict[str, object]]:
    """Rows for photos of that many pixels."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(0, 256, (BATCH, 3, 16, 16), np.uint8)).float()
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 255)
    pictures = smooth.permute(0, 2, 3, 1).contiguous().to(torch.uint8)
    alone = {name: batchwise(pictures, change) for name, change in CHANGES.items()}
    rates, _ = photo_steps(side)
    peers = {
        "crop-pillow": one_by_one.pillow_crop,
        "crop-albumentations": one_by_one.albumentations_crop(side),
        "trivial-pillow": one_by_one.pillow_trivial,
        "trivial-albumentations": one_by_one.albumentations_trivial(),
    }
    threads, rows = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    for name, peer in peers.items():
        ours = [batchwise(pictures, CHANGES[name.split("-")[0]], batches=4) for _ in range(REPEATS)]
        theirs = [looped(pictures.numpy(), peer) for _ in range(REPEATS)]
        facts = {"alone": alone, "step": median(rates)} if name == "crop-pillow" else {}
        rows[f"{name}-{side}"] = figure(ours, theirs, "images/s", more_is_better=True, **facts)
    torch.set_num_threads(threads)
    return rows


def batchwise(pictures: torch.Tensor, change: dict[str, float], batches: int = 10) -> float:
    """Images a second."""
    jitter, labels = Jitter(**change), torch.zeros(len(pictures), dtype=torch.int64)
    mirrored = torch.arange(len(pictures)) % 2 == 0
    jitter(pictures, labels, mirrored, classes=10, seed=0)
    before = time.perf_counter()
    for seed in range(batches):
        jitter(pictures, labels, mirrored, classes=10, seed=seed)
    return batches * len(pictures) / (time.perf_counter() - before)


def looped(pictures: np.ndarray, change: one_by_one.Change, rounds: int = 4) -> float:
    before = time.perf_counter()
    for _ in range(rounds):
        np.stack([change(picture) for picture in pictures])
    return rounds * len(pictures) / (time.perf_counter() - before)


def main() -> None:
    rows = photos(160) | photos(224)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # workers start here and look for data/split/train
        fast = speed()
        good = accuracies()
        os.chdir(HERE)
    figures = {"images_per_second": fast, "accuracy": good} | rows
    write("augmentation", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    main()
