"""A training as a job for a worker. It needs neither MLflow nor Optuna, so a worker starts in half the time."""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imagetrail.training import checkpoints
from imagetrail.training.data import Experiment, open_experiment
from imagetrail.training.history import as_row, begin, read_history, write_history
from imagetrail.training.loop import Diverged
from imagetrail.training.recipe import Recipe


@dataclass(frozen=True)
class Job:
    """A training up to an epoch; one that is to go on leaves a checkpoint beside its history."""

    inputs: dict[str, str]  # the content of all that the stage depends on, by path
    recipe: Recipe
    images: int | None  # train on so many; null: all
    seed: int
    until: int  # epochs
    state: Path  # folder
    label: str = ""  # tells twins apart, as two processes must not write one file

    @property
    def history(self) -> Path:
        """Its name is made of all that decides how the training goes."""
        decisive: Any = (self.inputs, self.recipe.model_dump(), self.images, self.seed)
        return self.state / f"{self.label}{checkpoints.digest(decisive)}.csv"


def train(job: Job) -> list[dict[str, float]] | None:
    """The history up to that epoch; None if the loss diverged. What was done before a crash is not done again."""
    _adopt(job.history)
    rows = read_history(job.history)
    if len(rows) < job.until:
        begin(job.history)
        data, checkpoint = _opened(job.state), job.history.with_suffix(".safetensors")
        training = data.start(job.recipe, seed=job.seed, checkpoint=checkpoint)
        rows = rows[: training.epoch]
        try:
            rows += [
                as_row(epoch) for epoch in data.fit(training, images=job.images, until=job.until)
            ]
        except Diverged:
            return None
        write_history(job.history, rows)
        if job.until < job.recipe.epochs:
            checkpoints.save(checkpoint, training)
    return rows[: job.until]


def _adopt(history: Path) -> None:
    """The same training in another state of the stage counts here too: other trials or arms are no reason to repeat it."""
    if history.exists():
        return
    for other in history.parent.parent.glob(f"*/{history.name}"):
        with suppress(
            OSError
        ):  # where there are no hard links, or it has just been tidied away, it is trained anew
            for suffix in (
                ".begun",
                ".csv",
                ".safetensors",
            ):  # a checkpoint is never ahead of its history
                if other.with_suffix(suffix).exists():
                    os.link(other.with_suffix(suffix), history.with_suffix(suffix))
        return


@cache
def _opened(state: Path) -> Experiment:  # noqa: ARG001  it stands for the very images
    """A worker opens the images once."""
    return open_experiment()
