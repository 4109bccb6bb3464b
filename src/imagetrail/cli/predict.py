"""`imagetrail predict`: what is in pictures."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imagetrail.base.terminal import say

if TYPE_CHECKING:  # what the command works with is loaded when it runs: the others start without it
    from imagetrail.serving.inputs import Batch
    from imagetrail.serving.onnx_model import Model
    from imagetrail.serving.prediction import Answer


def predict(
    images: Annotated[
        list[str], typer.Argument(help="Pictures, folders of them, or - for one on stdin.")
    ],
    model: Annotated[
        Path | None, typer.Option(help="An ONNX file; else the champion, else what export chose.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to name, the likeliest first.")] = 3,
    form: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="json: an object a line.")
    ] = "table",
    unsure: Annotated[
        float, typer.Option(min=0, max=1, help="Unsure below this probability.")
    ] = 0.5,
    explain: Annotated[
        Path | None, typer.Option(help="A folder for pictures of where the model looks.")
    ] = None,
) -> None:
    """Say what is in pictures, with calibrated probabilities.

    Exits with 1 if a picture could not be read; the others are answered.
    """
    from imagetrail.serving import inputs, onnx_model, prediction

    print_any_name()
    files, path = inputs.find(images), prediction.model_in_use(model)
    opened = onnx_model.load(path)
    say(f"model: {path} ({opened.sha256[:12]})", error=True)
    failed: list[str] = []

    def answered() -> "Iterator[Answer]":
        for batch in read(files, opened, failed):
            found = prediction.answers(opened, batch, top=top, unsure=unsure)
            yield from prediction.explained(opened, batch, found, explain) if explain else found

    for line in prediction.FORMATS[form](answered(), files):
        say(line)
    if failed:
        raise typer.Exit(1)


def print_any_name() -> None:
    """Names of files are printed as they are, UTF-8 or not."""
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def read(files: Sequence[str], model: "Model", failed: list[str]) -> "Iterator[Batch]":
    """Yields the pictures in batches; prints which ones failed and adds them to `failed`.

    On a terminal it shows its progress, unless the answers are shown there themselves.
    """
    from imagetrail.serving import inputs, prediction

    progress = sys.stderr.isatty() and not sys.stdout.isatty() and len(files) > 1
    done = 0
    for batch in inputs.batches(files, inputs.target_of(model)):
        for file, reason in batch.faults:
            failed.append(file)
            say(f"error: {prediction.printable(file)}: {reason}", error=True)
        yield batch
        done += len(batch.files) + len(batch.faults)
        if progress:
            end = "" if done < len(files) else "\n"
            say(f"\r{done:,} of {len(files):,} pictures", end=end, error=True)
