"""Ours on a draw of photos.py: a recipe from the folder of pictures to a trained model.

Each rung is a training of its own, from the shortest to the longest.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before torch is imported, as the command line has it.
import harness  # noqa: F401
import numpy as np
import pyarrow as pa
import torch
from photos_peer import report
from photos_sets import ROWS, SETS, Row, certainties

from imagetrail.base.samples import CERTAINTY, Samples, make_index
from imagetrail.data import own
from imagetrail.data.decoding import Target
from imagetrail.data.pictures import Pictures
from imagetrail.models import inference
from imagetrail.models.classifier import Classifier
from imagetrail.stages.pretrain.weights import IMAGENET
from imagetrail.stages.pretrain.weights import read as read_weights
from imagetrail.training import loop
from imagetrail.training.data import Experiment
from imagetrail.training.recipe import Recipe

PRETRAINED = "efficientnet_lite0"
FROZEN = {"fine_tune": False, "lr": 0.001}
TUNED = {
    "fine_tune": True,
    "optimiser": "adamw",
    "lr": 0.001,
    "batch_size": 32,
    "layer_decay": 0.8,
    "label_smoothing": 0.1,
    "blend": None,
}
SMALL = 64  # pixels: pictures that pretrained networks enlarge themselves
EXPERTS = "experts-12"  # the rung that learns from how sure experts were
SCRATCH = {
    "model": "airbench",
    "activation": "gelu",
    "initialisation": "identity",
    "batch_size": 512,
    "optimiser": "muon",
    "lr": 0.1,
    "schedule": "cosine",
    "weight_decay": 0.05,
    "ema": 0.99,
    "label_smoothing": 0.2,
    "flip": True,
}


def recipes(row: Row) -> dict[str, dict[str, Any]]:
    """The fields of each rung's recipe.

    `frozen-2`: the pretrained network as it is, a head solved on two views of every picture;
    `brief-1`: small pictures enlarged to two thirds of that. `tuned-5`: then all layers learn, for
    five epochs. `scratch-9`: a network that knows nothing, where pictures are many.
    """
    views, epochs = ((1, 2), (1,)) if row.epochs else ((1, 4), (5, 15))
    size = SETS[row.set].size
    changes = {"flip": True, "shift": max(1, round(size / 16))}
    # zoom blurs small pictures before they are enlarged
    zoom = 0.0 if size <= SMALL else 0.15
    known = {"model": PRETRAINED, "activation": "relu6", "zoom": zoom, "enlarge": row.factor}
    known |= changes | {"penalty": row.penalty}
    rungs = {f"frozen-{count}": known | FROZEN | {"epochs": count} for count in views}
    if size <= SMALL and not row.factor:
        factor = round(2 / 3 * row.large / size)
        rungs["brief-1"] = rungs["frozen-1"] | {"enlarge": factor}
    rungs |= {f"tuned-{count}": known | TUNED | {"epochs": count} for count in epochs}
    unknown = SCRATCH | {"shift": changes["shift"]}
    if row.count:  # what is seen often is better seen changed
        unknown |= {"randaugment": 1}
    return rungs | {f"scratch-{count}": unknown | {"epochs": count} for count in row.epochs}


def beyond(row: Row) -> dict[str, dict[str, Any]]:
    """The same for the rung that is beside a published network alone: it learns from more.

    `experts-12`: the frozen network, turned as cells have no up, and labels as sure as they are.
    """
    known = {"model": PRETRAINED, "activation": "relu6", "flip": True, "turn": True}
    return {EXPERTS: known | FROZEN | {"epochs": 12}} if row.published else {}


def size_of(row: Row, recipe: dict[str, Any]) -> int:
    """Pixels: small pictures are taken as they are, as the network enlarges them itself."""
    size = SETS[row.set].size
    return row.large if recipe["model"] == PRETRAINED and size > SMALL else size


def part(pictures: Pictures, name: str, *, size: int, channels: int) -> Samples:
    """Those of train, valid or test, in the order of their paths."""
    numbers = [number for number, split in enumerate(pictures.splits) if split == name]
    numbers.sort(key=lambda number: pictures.sources[number].split("/"))
    sources = [pictures.sources[number] for number in numbers]
    images = np.stack(list(pictures.readable(numbers, Target((size, size, channels)))))
    labels = pictures.labels[numbers]
    index = make_index(ids=sources, labels=labels, origin="real", sources=sources)
    return Samples(images, index, pictures.classes)


def features(like: Samples, samples: Samples, row: Row) -> np.ndarray:
    """N×D: what the head of the pretrained network sees, normalised as pictures `like` them."""
    recipe = Recipe(model=PRETRAINED, activation="relu6", epochs=1, lr=0.1, enlarge=row.factor)
    begun = loop.start(recipe, like, seed=0, pretrained=read_weights(IMAGENET, PRETRAINED))
    return inference.features(begun.model, samples).numpy()


def main(folder: Path, seed: int, rung: str) -> None:
    row = ROWS[folder.parent.name]
    fields = (recipes(row) | beyond(row))[rung]
    shape = {"size": size_of(row, fields), "channels": SETS[row.set].channels}
    before = time.perf_counter()
    pictures = own.read(folder, None, str(folder))
    train, valid = (part(pictures, name, **shape) for name in ("train", "valid"))
    if rung == EXPERTS:
        train = with_certainties(train, row)
    none = train.part(np.arange(0))
    weights = read_weights(IMAGENET, PRETRAINED) if fields["model"] == PRETRAINED else {}
    data = Experiment(train, none, none, none, valid, pretrained=weights)
    begun = data.start(Recipe(**fields), seed=seed)
    *_, last = data.fit(begun)
    seconds = time.perf_counter() - before
    test = part(pictures, "test", **shape)
    answers = answered(begun.outcome, test, fields)
    report(seconds, answers, train.classes, valid=last.valid_top1, size=shape["size"])


def with_certainties(train: Samples, row: Row) -> Samples:
    known = certainties(row)
    column = [known[Path(source).name] for source in train.column("source")]
    index = train.index.append_column(CERTAINTY, pa.array(column, pa.float64()))
    return replace(train, index=index)


def answered(model: Classifier, test: Samples, fields: dict[str, Any]) -> list[int]:
    """By the mean over views of a picture that training has seen."""
    # the first view of a frozen network is the picture as it is
    changed = fields.get("fine_tune", True) or fields["epochs"] > 1
    total = torch.zeros(len(test), len(test.classes))
    for images, weight in views(test.images, fields):
        view = replace(test, images=np.ascontiguousarray(images))
        for mirrored in (False, True) if fields["flip"] and changed else (False,):
            total += weight * inference.predict(model, view, mirrored=mirrored).softmax(1)
    return total.argmax(1).tolist()


def views(images: np.ndarray, fields: dict[str, Any]) -> Iterator[tuple[np.ndarray, float]]:
    """With what each weighs; mirror images come to them.

    From scratch, pictures moved by a pixel to two of the corners weigh half, as airbench94's do.
    """
    yield images, 1.0
    for quarters in (1, 2, 3) if fields.get("turn") else ():
        yield np.rot90(images, quarters, (1, 2)), 1.0
    if fields["model"] == SCRATCH["model"]:
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
        yield padded[:, :-2, :-2], 0.5
        yield padded[:, 2:, 2:], 0.5


if __name__ == "__main__":
    pictures = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # features that an earlier run has kept would take no time
        main(pictures, int(sys.argv[2]), sys.argv[3])
