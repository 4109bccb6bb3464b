"""Pictures on their way into a model: files, folders or stdin, decoded in bounded memory."""

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagetrail.base.errors import UserError
from imagetrail.base.params import check
from imagetrail.base.samples import Images
from imagetrail.base.words import printable
from imagetrail.data import decoding, listing
from imagetrail.data.decoding import Target, Unreadable
from imagetrail.data.limits import MAX_BYTES
from imagetrail.data.pictures import ahead, on_all_cores
from imagetrail.serving.onnx_model import Model

STDIN = "-"  # one picture


@dataclass(frozen=True)
class Batch:
    """Some of the files, in order: those that are pictures, and what is wrong with the others."""

    files: list[str]
    images: Images  # n×H×W×C
    faults: list[tuple[str, str]]  # (file, reason)


def find(names: Iterable[str]) -> list[str]:
    """The files meant: a folder stands for all in it and below that may be pictures by name.

    What is hidden, or in a hidden folder of it, is left out. Raises UserError for a folder without
    any, and for one that cannot be listed or is linked into it.
    """
    return [
        file
        for name in names
        for file in (_in_folder(Path(name)) if name != STDIN and Path(name).is_dir() else [name])
    ]


def _in_folder(folder: Path) -> list[str]:
    found = sorted(map(str, _below(folder)))
    if not found:
        raise UserError(f"{folder}: no picture in this folder, by its name, nor in any below it")
    return found


def _below(folder: Path) -> Iterator[Path]:
    for entry in listing.entries(folder, printable(str(folder))):
        path = folder / entry.name
        if listing.hidden(entry.name):
            continue
        if listing.leads_to(entry) != "folder":  # what is none will be told in its place
            if listing.may_be_picture(entry.name):
                yield path
        elif entry.is_symlink():
            shown = printable(str(path))
            raise UserError(f"{shown} is a linked folder; put the folder itself there")
        else:
            yield from _below(path)


def target_of(model: Model) -> Target:
    """What pictures are brought to, as in the model's training; raises UserError if it is odd."""
    noted = {key: model.metadata[key] for key in ("fit", "frames", "bits") if key in model.metadata}
    return check(Target, noted | {"shape": model.shape}, "the model is refused: its metadata")


def batches(files: Sequence[str], target: Target, *, size: int = 256) -> Iterator[Batch]:
    """All the files, `size` at a time; pictures become H×W×C as `target` says, as for training."""

    def read(name: str) -> Images | Unreadable:
        try:
            return decoding.read(_open(name), target)[0]
        except Unreadable as reason:
            return reason

    read_images = on_all_cores(read, files, ahead=ahead(target))
    for start in range(0, len(files), size):
        names = files[start : start + size]
        found = list(zip(names, read_images))  # noqa: B905  the names end first
        good = [(name, image) for name, image in found if not isinstance(image, Unreadable)]
        yield Batch(
            [name for name, _ in good],
            np.stack([image for _, image in good])
            if good
            else np.empty((0, *target.shape), np.uint8),
            [(name, str(reason)) for name, reason in found if isinstance(reason, Unreadable)],
        )


def _open(name: str) -> Path | io.BytesIO:
    if name != STDIN:
        if Path(name).exists() and not Path(name).is_file():
            raise Unreadable("not a file")  # a pipe or device could keep us waiting for ever
        return Path(name)
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if not content or len(content) > MAX_BYTES:
        raise Unreadable("nothing came" if not content else f"more than {MAX_BYTES:,} bytes")
    return io.BytesIO(content)
