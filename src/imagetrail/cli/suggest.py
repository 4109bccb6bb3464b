"""`imagetrail suggest`: which pictures to label next."""

import csv
from pathlib import Path
from typing import Annotated

import typer

from imagetrail.base.terminal import say
from imagetrail.base.words import percent


def suggest(
    folder: Annotated[Path, typer.Argument(help="Pictures without labels.")],
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Pictures to name.")] = 100,
    out: Annotated[Path, typer.Option(help="Where the ranking goes as CSV.")] = Path(
        "artifacts/suggest/suggested.csv"
    ),
    model: Annotated[
        Path | None, typer.Option(help="An ONNX file; else the champion, else what export chose.")
    ] = None,
) -> None:
    """Rank unlabelled pictures by what labelling them would teach the model."""
    from imagetrail.base.errors import UserError
    from imagetrail.base.files import replacing
    from imagetrail.cli.predict import print_any_name, read
    from imagetrail.serving import inputs, onnx_model, prediction, suggestion

    print_any_name()
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder of pictures")
    files, path = inputs.find([str(folder)]), prediction.model_in_use(model)
    opened = onnx_model.load(path)
    say(f"model: {path} ({opened.sha256[:12]})", error=True)
    found = list(suggestion.suggest(opened, read(files, opened, []), count=count))
    if not found:
        raise UserError(f"{folder}: none of the {len(files)} pictures can be read")
    rows = [
        (rank, one.file, one.label, f"{one.probability:.6f}") for rank, one in enumerate(found, 1)
    ]
    with (
        replacing(out) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        csv.writer(file).writerows([("rank", "file", "class", "probability"), *rows])
    for rank, one in enumerate(found, 1):
        line = f"{rank:4}  {one.file}  {one.label} {percent(one.probability, 1)}"
        say(line)
    alike = "" if len(found) == min(count, len(files)) else "; the others are much like these"
    say(f"{len(found)} of {len(files)} pictures: {out}{alike}", error=True)
