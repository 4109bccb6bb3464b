"""`imagetrail predict`: what is in pictures."""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imagetrail.base.terminal import hand_over, progress, say
from imagetrail.base.words import percent, printable

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
    maps = _for_maps(explain, path, opened) if explain else None

    def answered() -> "Iterator[Answer]":
        for batch in read(files, opened, failed):
            found = prediction.answers(opened, batch, top=top, unsure=unsure)
            yield from _explained(opened, batch, found, maps) if maps else found

    for line in prediction.FORMATS[form](answered(), files):
        (say if form == "table" else hand_over)(line)
    if failed:
        raise typer.Exit(1)


def _for_maps(folder: Path, file: Path, model: "Model") -> Path | None:
    """The folder, unless maps of this model are known to be untrue; says what is known of them."""
    from imagetrail.serving import tried

    known = tried.of(file, model)
    say(known.text, error=True)
    return None if known.failed else folder


def _explained(
    model: "Model", batch: "Batch", found: "Sequence[Answer]", folder: Path
) -> "Iterator[Answer]":
    """The answers, each with a picture in `folder` of where the model looked."""
    from imagetrail.base.files import replacing
    from imagetrail.plots import charts
    from imagetrail.serving import occlusion
    from imagetrail.serving.inputs import STDIN

    for answer, image in zip(found, batch.images, strict=True):
        best, probability = answer.ranked[0]
        fall = occlusion.sensitivity(model.predict, image, model.classes.index(best))
        key = hashlib.sha256(os.fsencode(answer.file)).hexdigest()[:8]  # tells a/x.png from b/x.png
        stem = "stdin" if answer.file == STDIN else Path(answer.file).stem[:80]
        path = folder / f"{stem}-{key}.png"
        title = f"{printable(best)} {percent(probability, 1)}{', unsure' if answer.unsure else ''}"
        with replacing(path) as temporary:
            charts.looked_at(image, fall, title, temporary)
        yield replace(answer, explanation=str(path))


def print_any_name() -> None:
    """Names of files are handed over as they are, UTF-8 or not."""
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]


def read(files: Sequence[str], model: "Model", failed: list[str]) -> "Iterator[Batch]":
    """Yields the pictures in batches; prints which ones failed and adds them to `failed`."""
    from imagetrail.serving import inputs

    with progress("looking", len(files), "pictures") as bar:
        for batch in inputs.batches(files, inputs.target_of(model)):
            for file, reason in batch.faults:
                failed.append(file)
                say(f"error: {file}: {reason}", error=True)
            yield batch
            bar.to(bar.done + len(batch.files) + len(batch.faults))
