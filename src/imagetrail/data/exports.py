"""Labels that other tools export, as rows of a table: Label Studio's and COCO's JSON."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from imagetrail.base.errors import UserError
from imagetrail.base.files import refuse_endless

DETECTION = {".txt": "YOLO's", ".xml": "VOC's"}
WANTED = (
    "wanted is Label Studio's export as JSON (not JSON-MIN), or COCO's with one category a picture"
)
WHOLE = 0.99  # of a picture's area: a box so large is no box


@dataclass
class Found:
    """What an export says, and why some of its pictures have no row."""

    rows: list[dict[str, str]] = field(default_factory=list)  # path, label
    left_out: dict[str, int] = field(default_factory=dict)  # reason: pictures

    def leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


def _value(entry: Any, key: str, what: str) -> Any:
    """What `entry` has under `key`; a ValueError calls it `what` if there is none."""
    if not isinstance(entry, dict):
        raise ValueError(f"{what} is no JSON object")
    if key not in entry:
        raise ValueError(f"{what} has no {key}")
    return entry[key]


def read(path: Path) -> Found:
    """The label of every picture that has one; raises UserError for a file of another kind."""
    if path.suffix.lower() in DETECTION:
        kind = f"{DETECTION[path.suffix.lower()]} boxes"
        raise UserError(f"{path}: {kind} are for detection, which is not supported; {WANTED}")
    refuse_endless(path)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path} is not JSON ({error}); {WANTED}") from None
    reader = _reader(content)
    if not reader:
        raise UserError(f"{path} is neither kind of export that is known; {WANTED}")
    try:
        found = reader(content)
    except ValueError as error:
        raise UserError(f"{path}: {error}; {WANTED}") from None
    except (AttributeError, LookupError, TypeError):
        fault = "has a text, number or list where such an export has something else"
        raise UserError(f"{path} {fault}; {WANTED}") from None
    if not found.rows:
        reasons = "; ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise UserError(f"{path}: no picture with one label: {reasons or 'there are none'}")
    return found


def _reader(content: Any) -> Callable[[Any], Found] | None:
    if isinstance(content, list) and all(
        isinstance(task, dict) and "data" in task for task in content
    ):
        return _label_studio
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        return _coco
    return None


# ---- Label Studio: labelstud.io/guide/export ----


def _label_studio(tasks: Sequence[Mapping[str, Any]]) -> Found:
    found = Found()
    for number, task in enumerate(tasks, 1):
        notes = _value(task, "annotations", f"task {number}")
        done = [note for note in notes if not note.get("was_cancelled")]
        whose = f"an annotation of task {number}"
        results = [result for note in done for result in _value(note, "result", whose)]
        answers = {
            tuple(result["value"]["choices"]) for result in results if result["type"] == "choices"
        }
        if not results:
            found.leave_out("not labelled")
        elif not answers:
            kinds = ", ".join(sorted({result["type"] for result in results}))
            found.leave_out(f"labelled by {kinds}, which is not supported")
        elif len(answers) > 1:
            found.leave_out("with answers that differ")
        elif len(*answers) != 1:
            found.leave_out("with several choices, which is not supported")
        else:
            ((label,),) = answers
            found.rows.append({"path": _studio_path(task, number), "label": label})
    return found


def _studio_path(task: Mapping[str, Any], number: int) -> str:
    """The file of a task: below the local storage, or as it was uploaded."""
    texts = [value for value in task["data"].values() if isinstance(value, str)]
    addresses = [text for text in texts if PurePosixPath(urlsplit(text).path).name]
    if not addresses:
        raise ValueError(f"task {number} names no file")
    parts = urlsplit(addresses[0])
    if local := parse_qs(parts.query).get("d"):
        return local[0].replace("\\", "/").lstrip("/")
    return PurePosixPath(unquote(parts.path)).name


# ---- COCO: cocodataset.org/#format-data ----


def _coco(content: Mapping[str, Any]) -> Found:
    found = Found()
    names = {
        _value(kind, "id", f"category {i}"): str(_value(kind, "name", f"category {i}"))
        for i, kind in enumerate(content["categories"], 1)
    }
    notes: dict[Any, list[Mapping[str, Any]]] = {}
    for i, note in enumerate(content["annotations"], 1):
        if (kind := _value(note, "category_id", f"annotation {i}")) not in names:
            raise ValueError(f"annotation {i} names category {kind!r}, which is not in categories")
        notes.setdefault(_value(note, "image_id", f"annotation {i}"), []).append(note)
    for i, image in enumerate(content["images"], 1):
        mine = notes.pop(_value(image, "id", f"image {i}"), [])
        kinds = {names[note["category_id"]] for note in mine}
        if not mine:
            found.leave_out("not labelled")
        elif any(_is_part(note, image) for note in mine):
            found.leave_out("with boxes or outlines, which is detection and not supported")
        elif len(kinds) > 1:
            found.leave_out("with several categories, which is not supported")
        else:
            name = _value(image, "file_name", f"image {i}")
            found.rows.append({"path": name.replace("\\", "/"), "label": kinds.pop()})
    for _ in itertools.chain(*notes.values()):
        found.leave_out("annotations of images that are not listed")
    return found


def _is_part(note: Mapping[str, Any], image: Mapping[str, Any]) -> bool:
    """Whether an annotation is of less than the whole picture."""
    box = note.get("bbox") or [0, 0, 0, 0]
    area = box[2] * box[3]
    whole = image.get("width", 0) * image.get("height", 0)
    return bool(note.get("segmentation")) or 0 < area < WHOLE * whole or (area > 0 and not whole)
