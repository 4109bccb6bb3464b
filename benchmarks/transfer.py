"""What related pictures are worth: accuracy with 10 and 100 labelled images a class.

<source>-to-<target>: a trunk pretrained on the source's own classes, then fine-tuned;
<source>-into-<target>: images of the same classes make up half of each epoch; imagenet-to-<target>:
a linear probe of EfficientNet-Lite0. Each beside the same small recipe from scratch, on the same
draws; nothing is tuned. Digits are scikit-learn's 8×8 ones, enlarged; elpv (photos of solar cells)
takes part where the package elpv-dataset is installed.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import matplotlib.pyplot as plt
import numpy as np
import torch
from harness import CACHE, HERE, accuracy, load, write
from PIL import Image
from sklearn.linear_model import LogisticRegression

from imagetrail.base.rng import generator
from imagetrail.base.samples import Samples, make_index
from imagetrail.compute import parallel
from imagetrail.data import datasets, pictures
from imagetrail.data.decoding import Target
from imagetrail.models import classifier, inference
from imagetrail.models.weights import load_weights, save_weights, trunk_weights
from imagetrail.stages.pretrain.weights import FILES, IMAGENET, read
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import Recipe

PHOTOS = "efficientnet_lite0"  # the network whose features of photos are tried
COUNTS = (10, 100)  # labelled images a class
SAME = {"mnist": "digits", "digits": "mnist"}  # whose classes mean the same
RECIPE = {
    "model": "fast",
    "activation": "relu",
    "width": 0.5,
    "batch_size": 128,
    "lr": 0.1,
    "ema": 0.98,
    "label_smoothing": 0.1,
    "shift": 1,
}
PRETRAINING = Recipe(epochs=3, repeat_to=20_000, **RECIPE)
FINE_TUNING = Recipe(epochs=6, repeat_to=2_500, **RECIPE)


@dataclass(frozen=True)
class Job:
    way: str
    target: str
    weights: Path | None  # to begin with
    mixed: str | None  # data set whose images make up half of each epoch
    count: int
    draw: int


@cache
def data(name: str) -> tuple[Samples, Samples]:
    """Train and test, 28×28 grey."""
    if name == "elpv":
        return _parted(*_elpv())
    if name == "digits":
        if not (CACHE / name).exists():
            datasets.fetch(name, CACHE / name)
        found = datasets.read(name, CACHE / name)
        return _parted(
            np.stack(list(found.readable(range(len(found)), Target((28, 28, 1))))), found.labels
        )
    return load(name)


def _elpv() -> tuple[np.ndarray, np.ndarray]:
    folder = Path(str(resources.files("elpv_dataset"))) / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines()]
    images = [pictures.fit(Image.open(folder / row[0]), (28, 28, 1)) for row in rows]
    return np.stack(images), np.array([round(3 * float(row[1])) for row in rows])


def _parted(images: np.ndarray, labels: np.ndarray) -> tuple[Samples, Samples]:
    """Every third image to test on."""
    test = np.arange(len(labels)) % 3 == 2
    return _samples(images[~test], labels[~test]), _samples(images[test], labels[test])


def _samples(images: np.ndarray, labels: np.ndarray) -> Samples:
    ids = [str(number) for number in range(len(labels))]
    classes = tuple(str(label) for label in range(labels.max() + 1))
    return Samples(images, make_index(ids=ids, labels=labels, origin="real", sources=ids), classes)


def few(name: str, count: int, draw: int) -> Samples:
    """So many images a class, or as many as there are."""
    train = data(name)[0]
    order = generator(draw, "draw", name).permutation(len(train))
    chosen = np.concatenate(
        [order[train.labels[order] == label][:count] for label in range(len(train.classes))]
    )
    return _samples(train.images[chosen], train.labels[chosen])


def pretrain(job: tuple[str, Path]) -> None:
    name, path = job
    train, test = data(name)
    begun = loop.start(PRETRAINING, train, seed=0)
    for _ in loop.fit(begun, Mixture(train, limit=20_000, repeat_to=20_000), _few(test)):
        pass
    save_weights(trunk_weights(begun.outcome), path)


def _few(samples: Samples) -> Samples:
    """What a training is watched on matters to nothing here."""
    return Samples(samples.images[:100], samples.index[:100], samples.classes)


def top1(job: Job) -> float:
    """On the target's test set."""
    train, test = few(job.target, job.count, job.draw), data(job.target)[1]
    images = Mixture(
        train, ((data(job.mixed)[0], 0.5),) if job.mixed else (), repeat_to=FINE_TUNING.repeat_to
    )
    weights = load_weights(job.weights) if job.weights else None
    begun = loop.start(FINE_TUNING, train, seed=job.draw, pretrained=weights)
    for _ in loop.fit(begun, images, _few(test)):
        pass
    return float((inference.predict(begun.outcome, test).argmax(1).numpy() == test.labels).mean())


def probe(job: tuple[str, int]) -> dict[int, list[float]]:
    """For each count, top-1 of the draws: logistic regression on the features of a frozen trunk."""
    target, draws = job
    test = data(target)[1]
    most = [few(target, COUNTS[-1], draw) for draw in range(draws)]
    recipe = Recipe(model=PHOTOS, activation="relu6", epochs=1, lr=0.1)
    weights = read(IMAGENET, PHOTOS)
    network = loop.start(recipe, data(target)[0], seed=0, pretrained=weights).model.eval()
    known = [features(network, samples) for samples in most]
    shown = features(network, test)
    scores: dict[int, list[float]] = {}
    for count, draw in product(COUNTS, range(draws)):
        labels = most[draw].labels
        first = np.concatenate(
            [np.flatnonzero(labels == label)[:count] for label in range(len(test.classes))]
        )
        seen = known[draw][first]
        centre, spread = seen.mean(0), seen.std(0) + 1e-2
        head = LogisticRegression(C=0.01, max_iter=200).fit((seen - centre) / spread, labels[first])
        scores.setdefault(count, []).append(
            float(head.score((shown - centre) / spread, test.labels))
        )
    return scores


@torch.no_grad()
def features(model: classifier.Classifier, samples: Samples) -> np.ndarray:
    """What the head of the network sees."""
    chunks = (torch.from_numpy(chunk.copy()) for chunk in samples.chunks(100))
    return np.concatenate([model.features(chunk).numpy() for chunk in chunks])


def main(draws: int, *names: str) -> None:
    """names: the data sets; all if none."""
    installed = ["elpv"] if find_spec("elpv_dataset") else []
    chosen = names or ("mnist", "fashion-mnist", "digits", *installed)
    scores: dict[tuple[str, str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trunks = {name: Path(folder) / f"{name}.safetensors" for name in chosen}
        list(parallel.map(pretrain, trunks.items()))
        ways = [("scratch", target, None, None) for target in chosen]
        ways += [
            (f"{source}-to", target, path, None)
            for source, path in trunks.items()
            for target in chosen
            if source != target
        ]
        ways += [
            (f"{SAME[target]}-into", target, None, SAME[target])
            for target in chosen
            if SAME.get(target) in chosen
        ]
        jobs = [Job(*way, count, draw) for way, count, draw in product(ways, COUNTS, range(draws))]
        for job, score in zip(jobs, parallel.map(top1, jobs), strict=True):
            scores.setdefault((job.way, job.target, job.count), []).append(score)
    photos = [(name, draws) for name in chosen if find_spec(FILES[PHOTOS].partition("/")[0])]
    for (target, _), found in zip(photos, parallel.map(probe, photos), strict=True):
        scores |= {("imagenet-to", target, count): values for count, values in found.items()}
    figures = {
        f"{way}-{target}-{count}": accuracy(values, scores["scratch", target, count])
        for (way, target, count), values in scores.items()
        if way != "scratch"
    }
    chart = "![Top-1 from each source to each target](results/transfer.png)"
    write("transfer", f"{(__doc__ or '').strip()}\n\n{chart}", figures)
    picture(scores, chosen, HERE / "results" / "transfer.png")


def picture(
    scores: dict[tuple[str, str, int], list[float]], targets: Sequence[str], path: Path
) -> None:
    """A matrix a count: accuracies, coloured by what they gain or lose against scratch."""
    ways = list(dict.fromkeys(way for way, _, _ in scores))
    figure, panels = plt.subplots(
        1,
        len(COUNTS),
        figsize=(4 + 2.2 * len(targets) * len(COUNTS), 1.5 + 0.5 * len(ways)),
        sharey=True,
    )
    for panel, count in zip(panels, COUNTS, strict=True):
        gains = np.full((len(ways), len(targets)), np.nan)
        for (row, way), (column, target) in product(enumerate(ways), enumerate(targets)):
            if found := scores.get((way, target, count)):
                gains[row, column] = mean(found) - mean(scores["scratch", target, count])
                spread = stdev(found) if len(found) > 1 else 0.0
                panel.text(
                    column, row, f"{mean(found):.1%} ± {spread:.1%}", ha="center", va="center"
                )
        panel.imshow(gains, cmap="RdYlGn", vmin=-0.1, vmax=0.1, aspect="auto", alpha=0.7)
        panel.set_xticks(range(len(targets)), targets)
        panel.set_yticks(
            range(len(ways)),
            [way.removesuffix("-to").replace("-into", " mixed in") for way in ways],
        )
        panel.set_title(f"{count} labelled images a class")
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})


if __name__ == "__main__":
    import transfer  # by its name, under which other processes find it

    transfer.main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, *sys.argv[2:])
