"""Train the model. Reads train, augmented, synthetic, valid and best.yaml, writes artifacts/train."""

from pydantic import Field
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from imagetrail import checkpoints, experiment, layout, models, pipeline, tracking
from imagetrail.files import write_csv, write_json
from imagetrail.history import as_row, read_history
from imagetrail.params import Section, load


class Train(Section):
    """The `train` section."""

    epochs: int = Field(ge=1)


def run() -> dict[str, float]:
    params, seed = load(Train, "train"), load(int, "seed")
    recipe = experiment.best_recipe(epochs=params.epochs)
    data = experiment.open_experiment()
    facts = {"inputs": pipeline.inputs("train"), "recipe": recipe.model_dump(), "seed": seed}
    state = checkpoints.folder("train", facts)
    checkpoint, history = state / "checkpoint.safetensors", state / "history.csv"
    training = data.start(recipe, seed=seed, checkpoint=checkpoint)
    rows = read_history(history)[: training.epoch]
    if rows:
        print(f"resuming after epoch {training.epoch}")
    with tracking.live("train", recipe.model_dump()) as log, _progress() as bar:
        task = bar.add_task("training", total=recipe.epochs, completed=training.epoch)
        for epoch in data.fit(training):
            rows.append(as_row(epoch))
            write_csv(history, rows)
            checkpoints.save(checkpoint, training)
            log.epoch(rows[-1])
            bar.update(task, advance=1)
            bar.console.print(
                f"epoch {epoch.number:3d}/{recipe.epochs}  loss {epoch.train_loss:.4f}  "
                f"valid loss {epoch.valid_loss:.4f}  valid top-1 {epoch.valid_top1:.2%}",
                highlight=False,
            )
        folder = layout.artifacts("train")
        write_csv(folder / "history.csv", rows)
        models.save(training.model, folder)
        write_json(folder / "recipe.json", recipe.model_dump())
        write_json(
            folder / "metrics.json",
            {
                "valid_top1": rows[-1]["valid_top1"],
                "epochs": recipe.epochs,
                **models.card(training.model),
            },
        )
    return {"images": recipe.epochs * len(data.train)}


def _progress() -> Progress:
    """A bar on a terminal; elsewhere only the line an epoch."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    return Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), transient=True)
