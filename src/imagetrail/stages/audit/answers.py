"""Every picture answered by a small model that has seen neither it nor what belongs to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base import paths, samples
from imagetrail.base.files import replacing
from imagetrail.base.samples import Samples
from imagetrail.compute import parallel
from imagetrail.metrics.scores import Floats
from imagetrail.models.classifier import Classifier
from imagetrail.models.inference import predict
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import Recipe

PARTS = (paths.TRAIN, paths.VALID, paths.TEST)
# A small network, fast to train, that little data and few epochs suffice for.
QUICK = {
    "model": "fast",
    "activation": "relu",
    "width": 0.5,
    "optimiser": "muon",
    "lr": 0.1,
    "weight_decay": 0.05,
    "ema": 0.99,
    "repeat_to": 10_000,
}
# Of the project's recipe: what may happen to its pictures without their becoming others.
CARRIED = ("flip", "shift", "rotate", "zoom", "shear", "elastic", "cutout")
FOLDS = "folds.npy"
CHUNK = 1000  # pictures answered at a time


@dataclass(frozen=True)
class Job:
    """A training without one fold, and its answers to that fold."""

    number: int  # of the fold
    recipe: Recipe
    images: int | None  # of an epoch, at most
    seed: int
    state: Path  # has the folds; the answers are kept here, so that a killed audit goes on

    @property
    def path(self) -> Path:
        return self.state / f"{self.number}.npy"


def quick(recipe: Recipe) -> Recipe:
    """The recipe of these trainings in a project with this recipe."""
    carried = {name: getattr(recipe, name) for name in (*CARRIED, "epochs")}
    return Recipe.model_validate(QUICK | carried)


def out_of_fold(
    fold: NDArray[np.int64],
    classes: int,
    recipe: Recipe,
    *,
    images: int | None,
    seed: int,
    state: Path,
) -> Floats:
    """Logits N×K, each picture's of the model that lacks its fold.

    fold: of each picture, those of the train split first, then valid, then test.
    images: of an epoch, at most.
    state: a folder for these very inputs, which a second call goes on from.
    """
    _save(state / FOLDS, fold)
    jobs = [Job(number, recipe, images, seed, state) for number in range(int(fold.max()) + 1)]
    logits = np.zeros((len(fold), classes))
    for job, _ in zip(jobs, parallel.map(answer, jobs), strict=True):
        logits[fold == job.number] = np.load(job.path, allow_pickle=False)
        print(f"fold {job.number + 1} of {len(jobs)} is answered", flush=True)
    return logits


def answer(job: Job) -> None:
    """Trains without the fold and writes the answers to it. What is done is not repeated."""
    if job.path.exists():
        return
    parts = [samples.read(folder) for folder in PARTS]
    fold = np.load(job.state / FOLDS, allow_pickle=False)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    held_out = [np.flatnonzero(some == job.number) for some in np.split(fold, ends)]
    _save(job.path, _logits(_train(job, parts, held_out), parts, held_out))


def _train(job: Job, parts: Sequence[Samples], held_out: Sequence[NDArray[np.int64]]) -> Classifier:
    """A model of all pictures but those held out, each seen about as often as any other."""
    sizes = [len(part) - len(out) for part, out in zip(parts, held_out, strict=True)]
    largest, *others = np.argsort([-size for size in sizes], kind="stable")
    share = [size / sum(sizes) for size in sizes]
    mixture = Mixture(
        parts[largest],
        tuple((parts[i], share[i]) for i in others),
        limit=job.images,
        repeat_to=job.recipe.repeat_to,
        held_out=tuple(held_out[i] for i in (largest, *others)),
    )
    training = loop.start(job.recipe, parts[largest], seed=job.seed)
    some = parts[largest].part(np.arange(2))  # training judges itself by these, nobody looks
    for _ in loop.fit(training, mixture, some):
        pass
    return training.outcome


def _logits(
    model: Classifier, parts: Sequence[Samples], held_out: Sequence[NDArray[np.int64]]
) -> NDArray[np.float32]:
    found = [
        predict(model, part.part(out[start : start + CHUNK])).numpy()
        for part, out in zip(parts, held_out, strict=True)
        for start in range(0, len(out), CHUNK)
    ]
    return np.concatenate(found)


def _save(path: Path, array: NDArray[Any]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
