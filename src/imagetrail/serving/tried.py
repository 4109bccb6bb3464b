"""Whether maps of where a model looks are true to it: what stage `explain` found, read again."""

from dataclasses import dataclass
from pathlib import Path

from imagetrail.base.errors import damaged
from imagetrail.base.files import read_json

FILE = "scores.json"  # artifacts/explain has it; a promotion lays it beside the champion
METHOD = "occlusion"  # the one that needs no gradients: `serving.occlusion`


@dataclass(frozen=True)
class Tried:
    """A finding about the maps of a model, in a sentence; failed: they are not to be shown."""

    failed: bool
    text: str


def of(model: Path) -> Tried:
    """What is known of an ONNX file's maps. A smaller network that it taught was not tried.

    Raises UserError if the file that tells is damaged.
    """
    folder = model.parent
    places = [folder / FILE, folder.parent / "explain" / FILE]
    known = next((place for place in places if place.exists()), None)
    try:
        found = _told(known) if known else None
    except (AttributeError, KeyError, TypeError) as error:
        raise damaged(known or folder, repr(error)) from None
    return found or Tried(
        failed=False, text="Whether such maps are true to the model was not tried."
    )


def _told(file: Path) -> Tried | None:
    scores = read_json(file)
    found = scores.get("methods", {}).get(METHOD)
    if not found:
        return None
    if not found["passed"]:
        return Tried(
            failed=True, text=f"Where it looks is not shown: such maps failed their test ({file})."
        )
    ahead, low = (100 * found[f"deletion_over_other{end}"] for end in ("", "_low"))
    text = (
        f"Such maps passed their test on {scores['pictures']} pictures: without what they name, "
        f"the answer loses {ahead:.1f} points more than without what another picture's map names "
        f"(at least {low:.1f})."
    )
    return Tried(failed=False, text=text)
