"""A training as a job for a worker. It needs neither MLflow nor Optuna, so a worker starts in half the time."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from imagetrail import checkpoints, experiment
from imagetrail.experiment import Experiment
from imagetrail.history import as_row, begin, read_history, write_history
from imagetrail.recipe import Recipe
from imagetrail.training import Diverged


@dataclass(frozen=True)
class Job:
    """A training up to an epoch; one that is to go on leaves a checkpoint beside its history."""

    recipe: Recipe
    images: int | None  # train on so many; null: all
    seed: int
    until: int  # epochs
    history: Path


def train(job: Job) -> list[dict[str, float]] | None:
    """The history up to that epoch; None if the loss diverged. What was done before a crash is not done again."""
    rows = read_history(job.history)
    if len(rows) < job.until:
        begin(job.history)
        data, checkpoint = _opened(job.history.parent), job.history.with_suffix(".safetensors")
        training = data.start(job.recipe, seed=job.seed, checkpoint=checkpoint)
        rows = rows[: training.epoch]
        try:
            rows += [as_row(epoch) for epoch in data.fit(training, images=job.images, until=job.until)]
        except Diverged:
            return None
        write_history(job.history, rows)
        if job.until < job.recipe.epochs:
            checkpoints.save(checkpoint, training)
    return rows[: job.until]


@cache
def _opened(state: Path) -> Experiment:  # noqa: ARG001  it stands for the very images
    """A worker opens the images once."""
    return experiment.open_experiment()
