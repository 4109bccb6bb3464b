"""The mistakes that the model is most sure of, each beside what it may have taken them for."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagetrail.base.samples import Images, Samples, read_table
from imagetrail.models.classifier import Classifier
from imagetrail.serving import neighbours
from imagetrail.stages.explain import attribution

SHOWN = 8  # mistakes
BESIDE = 3  # training pictures
PIXELS = 50_000_000  # of the training pictures that are searched: 60,000 of 28, 1,000 of 224 a side


def mistakes(answered: Path) -> NDArray[np.int64]:
    """Numbers of the test pictures that stage evaluate got wrong."""
    table = read_table(answered, columns=["label", "predicted"])
    return np.flatnonzero(table["label"].to_numpy() != table["predicted"].to_numpy())


def surest_mistakes(answered: Path, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """The surest of them first."""
    wrong = mistakes(answered)
    predicted = read_table(answered, columns=["predicted"])["predicted"].to_numpy()
    named = [f"p_{classes[k]}" for k in predicted[wrong]]
    columns = read_table(answered, columns=sorted(set(named)))
    sure = np.array([columns[name][int(i)].as_py() for name, i in zip(named, wrong, strict=True)])
    return wrong[np.argsort(-sure, kind="stable")][:SHOWN]


def beside(
    model: Classifier, images: Images, train: Samples, rng: np.random.Generator
) -> tuple[list[list[int]], int]:
    """For each of N×H×W×C images the nearest training pictures by features; among how many.

    Of more than PIXELS of them, so many drawn at random are searched.
    """
    height, width = train.images.shape[1:3]
    most = max(BESIDE, PIXELS // (height * width))
    few = len(train) > most
    numbers = np.sort(rng.permutation(len(train))[:most]) if few else np.arange(len(train))
    mine, step = _features(model, images), 1024
    starts = range(0, len(numbers), step)
    known = np.concatenate([_features(model, train.gather(numbers[i : i + step])) for i in starts])
    found = [neighbours.closest(known, row, BESIDE) for row in mine]
    return [numbers[rows].tolist() for rows in found], len(numbers)


def _features(model: Classifier, images: Images) -> NDArray[np.float32]:
    @torch.no_grad()
    def features(some: Tensor) -> Tensor:
        return model.features(some)

    given = torch.from_numpy(images)
    parts = attribution.spread(features, torch.split(given, attribution.few(model.spec.sides)))
    return np.asarray(torch.cat(parts).numpy(), np.float32)
