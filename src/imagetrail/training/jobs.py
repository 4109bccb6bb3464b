"""A training as a job for a worker. It loads neither MLflow nor Optuna: a worker starts sooner.

A training lies in one folder, named after all that decides how it goes. So it is done once,
whichever search or comparison asks for it, and however often.
"""

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path

from imagetrail.base import paths
from imagetrail.base.files import remove, write_csv
from imagetrail.compute import parallel
from imagetrail.training import checkpoints
from imagetrail.training.data import FOLDERS, Experiment, open_experiment
from imagetrail.training.history import as_row, read_history
from imagetrail.training.loop import Diverged
from imagetrail.training.recipe import Recipe

HISTORY, CHECKPOINT, BEGUN = "history.csv", "checkpoint.safetensors", "begun"

# Data, weights, and the rooms of all code that `train` runs, which a test holds equal to its
# imports; where the package is installed and no code is here, the file that pins its version. The
# code of tune and compare is not among them: it only chooses the trainings.
ROOMS = ("base", "compute", "models", "training")
DECISIVE = (
    *(path.as_posix() for path in (*FOLDERS, paths.PRETRAINED)),
    *(f"src/imagetrail/{room}" for room in ROOMS),
    paths.REQUIREMENTS.as_posix(),
)


def decisive(inputs: Mapping[str, str]) -> dict[str, str]:
    """Of the content that a stage depends on, by path, what decides how its trainings go."""
    return {path: inputs[path] for path in DECISIVE if path in inputs}


@dataclass(frozen=True)
class Job:
    """A training up to an epoch; one that is to go on leaves a checkpoint beside its history."""

    inputs: dict[str, str]  # content by path, as `decisive` gives it
    recipe: Recipe
    images: int | None  # train on so many; null: all
    seed: int
    until: int  # epochs
    state: Path  # folder of the search or comparison that asks

    @property
    def folder(self) -> Path:
        facts = (self.inputs, self.recipe.model_dump(), self.images, self.seed)
        return self.state.parents[1] / checkpoints.TRAININGS / checkpoints.digest(facts)

    def times(self) -> tuple[float, float] | None:
        """When it began and last ended an epoch, in seconds since 1970; None if it never did."""
        begun, history = self.folder / BEGUN, self.folder / HISTORY
        return (begun.stat().st_mtime, history.stat().st_mtime) if history.exists() else None


History = list[dict[str, float]]


def train_all(jobs: Sequence[Job]) -> Iterator[History | None]:
    """What `train` gives for each, in their order, on as many workers as there are."""
    for job in jobs:
        checkpoints.use(job.state, job.folder)
    reads = (*FOLDERS, paths.PRETRAINED)
    return parallel.spread(train, jobs, reads=reads, keeps=attrgetter("folder"))


def train(job: Job) -> History | None:
    """The history up to that epoch, or None if the loss diverged. What is done is not repeated."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / BEGUN).open("a") as mark:  # its time is that of the first opening
        fcntl.flock(mark, fcntl.LOCK_EX)  # another process may want the same; a kill frees it
        rows = read_history(job.folder / HISTORY)
        return rows[: job.until] if len(rows) >= job.until else _go_on(job, rows)


def _go_on(job: Job, rows: History) -> History | None:
    data, checkpoint = _opened(checkpoints.digest(job.inputs)), job.folder / CHECKPOINT
    training = data.start(job.recipe, seed=job.seed, checkpoint=checkpoint)
    rows = rows[: training.epoch]  # a checkpoint is never ahead of its history
    try:
        rows += [as_row(epoch) for epoch in data.fit(training, images=job.images, until=job.until)]
    except Diverged:
        return None
    write_csv(job.folder / HISTORY, rows)
    if job.until < job.recipe.epochs:
        checkpoints.save(checkpoint, training)
    else:
        remove(checkpoint)
    return rows


@cache
def _opened(inputs: str) -> Experiment:  # noqa: ARG001  it stands for the very images
    """A worker opens the images once."""
    return open_experiment()
