"""Every picture answered by a model that has seen neither it nor what belongs to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from imagetrail.base import hub, paths, samples
from imagetrail.base.files import replacing
from imagetrail.base.samples import Samples
from imagetrail.base.terminal import say, track
from imagetrail.compute import parallel
from imagetrail.models.inference import predict
from imagetrail.models.weights import load_architecture, load_weights
from imagetrail.training import loop, views
from imagetrail.training.batches import Mixture
from imagetrail.training.features import Extractor
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training

PARTS = (paths.TRAIN, paths.VALID, paths.TEST)
FOLDS = "folds.npy"
CHUNK = 1000  # pictures answered at a time


@dataclass(frozen=True)
class Job:
    """A training without one fold, and its answers to that fold."""

    number: int  # of the fold
    recipe: Recipe  # its synthetic images are left out: they were drawn from pictures of all folds
    images: int | None  # of an epoch, at most
    seed: int
    state: Path  # has the folds; the answers are kept here, so that a killed audit goes on

    @property
    def path(self) -> Path:
        return self.state / f"{self.number}.npy"


def out_of_fold(
    fold: NDArray[np.int64],
    classes: int,
    recipe: Recipe,
    *,
    images: int | None,
    seed: int,
    state: Path,
) -> NDArray[np.float64]:
    """Logits N×K, each picture's of the model that lacks its fold.

    fold: of each picture, those of the train split first, then valid, then test.
    images: of an epoch, at most.
    state: a folder for these very inputs, which a second call goes on from.
    """
    _save(state / FOLDS, fold)
    jobs = [Job(number, recipe, images, seed, state) for number in range(int(fold.max()) + 1)]
    logits = np.zeros((len(fold), classes))
    reads = (*PARTS, paths.AUGMENTED, paths.RELATED, paths.PRETRAINED, state / FOLDS)
    answers = parallel.spread(answer, jobs, reads=reads, keeps=attrgetter("path"))
    answered = zip(jobs, answers, strict=True)
    for job, _ in track(answered, len(jobs), "answering", "folds"):
        logits[fold == job.number] = np.load(job.path, allow_pickle=False)
        say(f"fold {job.number + 1} of {len(jobs)} is answered")
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


def _train(job: Job, parts: Sequence[Samples], held_out: Sequence[NDArray[np.int64]]) -> Training:
    """A training on all pictures but those held out, each seen about as often as any other."""
    sizes = [len(part) - len(out) for part, out in zip(parts, held_out, strict=True)]
    largest, *others = np.argsort([-size for size in sizes], kind="stable")
    made = list(_made(job.recipe, parts[0], held_out[0]))
    own = 1 - sum(share for _, share, _ in made)
    sources = [(parts[i], own * sizes[i] / sum(sizes), held_out[i]) for i in others] + made
    mixture = Mixture.of(
        job.recipe,
        parts[largest],
        tuple((source, share) for source, share, _ in sources),
        job.images,
        held_out=(held_out[largest], *(out for _, _, out in sources)),
    )
    weights = load_weights(paths.PRETRAINED) if job.recipe.pretrained else None
    architecture = load_architecture(paths.PRETRAINED) if hub.named(job.recipe.model) else None
    training = loop.start(
        job.recipe, parts[largest], seed=job.seed, pretrained=weights, architecture=architecture
    )
    some = parts[largest].part(np.arange(2))  # training judges itself by these, nobody looks
    for _ in loop.fit(training, mixture, some):
        pass
    return training


def _made(
    recipe: Recipe, train: Samples, held_out: NDArray[np.int64]
) -> Iterator[tuple[Samples, float, NDArray[np.int64]]]:
    """Augmented and related images, their share, and those whose parent is held out."""
    if recipe.related:
        related = samples.read(paths.RELATED, columns=["label", "parent"])
        yield related, recipe.related, np.empty(0, np.int64)
    if recipe.augmented:
        augmented = samples.read(paths.AUGMENTED, columns=["label", "parent"])
        gone = pc.is_in(
            augmented.index["parent"], train.index["id"].take(held_out).combine_chunks()
        )
        yield augmented, recipe.augmented, np.flatnonzero(gone.to_numpy())


def _logits(
    training: Training, parts: Sequence[Samples], held_out: Sequence[NDArray[np.int64]]
) -> NDArray[np.float32]:
    model = training.outcome
    answers = partial(predict, model)
    if not training.recipe.fine_tune:  # other folds want the same features
        answers = partial(views.predict, model, Extractor(model))
    found = [
        answers(part.part(out[start : start + CHUNK])).numpy()
        for part, out in zip(parts, held_out, strict=True)
        for start in range(0, len(out), CHUNK)
    ]
    return np.concatenate(found)


def _save(path: Path, array: NDArray[Any]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
