"""Train the model.

Reads split, augmented, synthetic, best.yaml and cures.yaml, writes artifacts/train. torchrun may
start it as several processes, on one machine or more; the first of them writes.
"""

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch

from imagetrail.base import paths, pipeline
from imagetrail.base.files import write_csv, write_json
from imagetrail.base.params import load
from imagetrail.base.samples import Samples, at_once
from imagetrail.base.terminal import progress, say
from imagetrail.base.words import percent
from imagetrail.compute import distributed
from imagetrail.models import classifier, weights
from imagetrail.stages.train.activity import Activity, activity
from imagetrail.stages.train.interruption import deferred
from imagetrail.stages.train.params import Train
from imagetrail.tracking import live
from imagetrail.tracking.live import Live
from imagetrail.training import checkpoints
from imagetrail.training.checkpoints import Keeper
from imagetrail.training.chosen import proven_recipe
from imagetrail.training.data import open_experiment
from imagetrail.training.history import as_row, read_history
from imagetrail.training.loop import Epoch, Step, walk
from imagetrail.training.state import Training

CHECKPOINT = "checkpoint.safetensors"
JUDGED = ("valid_top1", "valid_macro_recall")  # that the last epoch is noted with
WATCHED = 1000  # validation images, at most, that show what the activations do


def run() -> dict[str, float | str] | None:
    params, seed = load(Train, "train"), load(int, "seed")
    recipe = proven_recipe(epochs=params.epochs)
    data = open_experiment(limited=False)
    inputs = pipeline.inputs("train")
    facts = {"inputs": inputs, "recipe": recipe.model_dump(), "seed": seed}
    state = checkpoints.folder("train", facts)
    with distributed.joined():
        distributed.refuse_others(inputs | {"params.yaml": checkpoints.digest(facts)})
        training = data.start(recipe, seed=seed, checkpoint=state / CHECKPOINT)
        events = walk(training, data.mixture(recipe), data.valid)
        if distributed.rank() > 0:
            for _ in _until_stopped(events, lambda: None):
                pass
            return None
        with live.running("train", recipe.model_dump()) as log:
            rows, images = _train(events, training, state, log)
            _write(training, rows, data.valid)
        return {"images": images, "processes": distributed.ranks(), **training.machine.facts()}


def _train(
    events: Iterator[Step | Epoch], training: Training, state: Path, log: Live
) -> tuple[list[dict[str, float]], int]:
    """Lets the training go on; saves, logs and prints what happens.

    Returns the history, and how many images it took.
    """
    rows, images = read_history(state / "history.csv")[: training.epoch], 0
    keeper = Keeper(state / CHECKPOINT, training)
    if training.epoch or training.step:
        say(f"resuming after epoch {training.epoch}, step {training.step}")
    epochs, began = training.recipe.epochs, time.monotonic()
    with progress("training", epochs, "epochs", done=training.epoch) as bar:
        for event in _until_stopped(events, keeper.save):
            if isinstance(event, Step):
                images += event.images
                speed = f"{images / max(time.monotonic() - began, 1e-9):,.0f} images/s"
                bar.to(event.epoch - 1 + event.number / event.steps, speed)
                keeper.save_if_due()
            else:
                rows.append(as_row(event))
                write_csv(state / "history.csv", rows)
                keeper.save()
                log.epoch(rows[-1])
                say(_line(event, epochs))
    return rows, images


def _until_stopped(
    events: Iterator[Step | Epoch], save: Callable[[], None]
) -> Iterator[Step | Epoch]:
    """The events; they end after a signal to any of the processes.

    All processes end behind the same step, once that is saved.
    """
    with deferred() as interruption:
        for event in events:
            yield event
            if distributed.total(interruption.number is not None):
                save()
                interruption.number = interruption.number or signal.SIGTERM
                return


def _write(training: Training, rows: list[dict[str, float]], valid: Samples) -> None:
    folder, recipe, model = paths.artifacts("train"), training.recipe, training.outcome
    write_csv(folder / "history.csv", rows)
    weights.save(model, folder)
    chosen = {"blend": training.blend, "enlarge": model.spec.factor}  # where the recipe has null
    write_json(folder / "recipe.json", recipe.model_dump() | chosen)
    card = classifier.card(model)
    write_json(
        folder / "metrics.json",
        {name: rows[-1][name] for name in JUDGED} | {"epochs": recipe.epochs, **card},
    )
    some = valid.part(np.arange(min(len(valid), at_once(model.spec.sides, WATCHED))))
    images, labels = torch.from_numpy(some.images.copy()), torch.from_numpy(some.labels.copy())
    watched = activity(model.cpu(), images, labels)
    columns = [column.name for column in fields(Activity)]
    write_csv(folder / "activity.csv", [asdict(layer) for layer in watched], columns=columns)


def _line(epoch: Epoch, epochs: int) -> str:
    return (
        f"epoch {epoch.number:3d}/{epochs}  loss {epoch.train_loss:.4f}  "
        f"valid loss {epoch.valid_loss:.4f}  valid top-1 {percent(epoch.valid_top1)}  "
        f"macro recall {percent(epoch.valid_macro_recall)}"
    )
