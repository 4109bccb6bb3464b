"""Whether maps of where a model looks are true to it: what stage `explain` found, read again."""

from dataclasses import dataclass
from pathlib import Path

from imagetrail.base import hashing
from imagetrail.base.errors import damaged
from imagetrail.base.files import read_json
from imagetrail.serving.onnx_model import Model

FILE = "scores.json"  # artifacts/explain has it; a promotion lays it beside the champion
METHOD = "occlusion"  # the one that needs no gradients: `serving.occlusion`
WEIGHTS = "weights"  # in it, and in a model's metadata: sha256 of the weights of the network


def known_by(trained: Path) -> dict[str, str]:
    """What the figures of a trained network and its exported files have in common."""
    return {WEIGHTS: hashing.sha256(trained / "model.safetensors")}


@dataclass(frozen=True)
class Tried:
    """A finding about the maps of a model, in a sentence.

    passed: None where nothing is known. failed: they are not to be shown.
    """

    passed: bool | None
    text: str

    @property
    def failed(self) -> bool:
        return self.passed is False


def of(file: Path, model: Model) -> Tried:
    """What is known of the maps of an ONNX file that is opened as `model`.

    Figures of another model tell nothing of it: such are not believed. Raises UserError if the file
    that tells is damaged.
    """
    folder = file.parent
    places = [folder / FILE, folder.parent / "explain" / FILE]
    known = next((place for place in places if place.exists()), None)
    try:
        found = _told(known, model.metadata.get(WEIGHTS)) if known else None
    except (AttributeError, KeyError, TypeError) as error:
        raise damaged(known or folder, repr(error)) from None
    return found or Tried(
        passed=None, text="Whether such maps are true to the model was not tried."
    )


def _told(file: Path, weights: str | None) -> Tried | None:
    scores = read_json(file)
    found = scores.get("methods", {}).get(METHOD)
    if scores.get(WEIGHTS) != weights:
        return Tried(passed=False, text=f"Where it looks is not shown: {file} is of another model.")
    if not found:
        return None
    if not found["passed"]:
        return Tried(
            passed=False, text=f"Where it looks is not shown: such maps failed their test ({file})."
        )
    ahead, low = (100 * found[f"deletion_over_other{end}"] for end in ("", "_low"))
    text = (
        f"Such maps passed their test on {scores['pictures']} pictures: without what they name, "
        f"the answer loses {ahead:.1f} points more than without what another picture's map names "
        f"(at least {low:.1f})."
    )
    return Tried(passed=True, text=text)
