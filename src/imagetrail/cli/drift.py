"""`imagetrail drift`: do new pictures look like those the model was made with?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagetrail.base.terminal import say

if TYPE_CHECKING:  # what the command works with is loaded when it runs: the others start without it
    from imagetrail.serving.drift import Reference, Seen
    from imagetrail.serving.onnx_model import Model

DRIFT = 3  # exit code


def drift(
    folder: Annotated[Path, typer.Argument(help="New pictures, without labels.")],
    alpha: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="The chance of a false alarm.")
    ] = 0.01,
    out: Annotated[Path, typer.Option(help="Where drift.json and unusual.png go.")] = Path(
        "artifacts/drift"
    ),
    model: Annotated[
        Path | None, typer.Option(help="An ONNX file; else the champion, else what export chose.")
    ] = None,
) -> None:
    """Compare new pictures with those the model was made with.

    Exits with 0 if nothing speaks for drift, 3 on drift, 1 if the question could not be answered.
    """
    from imagetrail.base.errors import UserError
    from imagetrail.base.files import write_json
    from imagetrail.serving import drift, inputs, onnx_model, prediction

    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder of pictures")
    files = inputs.find([str(folder)])
    path = prediction.model_in_use(model)
    opened = onnx_model.load(path)
    say(f"model: {path} ({opened.sha256[:12]})", error=True)
    reference = drift.read_reference(drift.reference_of(path), opened)
    seen = drift.look(opened, reference, files)
    for file, reason in seen.faults:
        say(f"error: {file}: {reason}", error=True)
    found = drift.judge(reference, seen, alpha=alpha)
    unusual = drift.most_unusual(seen)
    _write_sheet(out / "unusual.png", [file for file, _ in unusual], opened)
    write_json(out / "drift.json", found | _details(opened, reference, seen, unusual))
    say(*drift.summary(found))
    say(f"the most unusual: {out / 'unusual.png'}; all figures: {out / 'drift.json'}")
    if found["verdict"] == "drift":
        raise typer.Exit(DRIFT)


def _write_sheet(path: Path, files: Sequence[str], model: "Model") -> None:
    from imagetrail.base.files import replacing
    from imagetrail.plots import sheets
    from imagetrail.serving import inputs

    batches = inputs.batches(files, inputs.target_of(model))
    with replacing(path) as temporary:
        sheet = sheets.contact_sheet([image for batch in batches for image in batch.images])
        sheet.save(temporary, "PNG")


def _details(
    model: "Model", reference: "Reference", seen: "Seen", unusual: Sequence[tuple[str, float]]
) -> dict[str, Any]:
    """What drift.json has beside the verdict."""
    counts = {
        name: {"new": int(new), "reference": int(old)}
        for name, new, old in zip(model.classes, seen.counts, reference.counts, strict=True)
    }
    pictures = [{"file": file, "distance": distance} for file, distance in unusual]
    return {"model": model.sha256, "counts": counts, "most_unusual": pictures}
