"""Files appear whole or not at all: written under a temporary name, then renamed."""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagetrail.base.errors import ANEW, UserError, damaged, missing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path`, which a good end renames to `path` and a bad one removes."""
    temporary = path.with_name(f".{path.name}.partial")
    old = path.with_name(f".{path.name}.old.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(temporary)
    remove(old)
    try:
        yield temporary
        if path.is_dir():  # a rename does not overwrite it, and a removal is not done at once
            path.replace(old)
        temporary.replace(path)
    except OSError as error:  # that the disk is full comes without a name
        error.filename = error.filename or str(path)
        raise
    finally:
        remove(temporary)
        remove(old)


def remove(path: Path) -> None:
    """Removes a file or a whole folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_endless(path: Path) -> None:
    """Raises UserError for a pipe, socket or device, which may never come to an end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is a pipe, socket or device; a file is wanted")


def read_json(path: Path, *, remedy: str = ANEW) -> Any:
    """The value in a JSON file; raises UserError if it is missing, or damaged: then `remedy`."""
    refuse_endless(path)
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise missing(path) from None
    except (RecursionError, ValueError) as error:  # no JSON, or no UTF-8
        raise damaged(path, error, remedy=remedy) from None


def write_json(path: Path, value: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_csv(
    path: Path, rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] | None = None
) -> None:
    """Writes a header and the rows; the columns are those of the first row unless named."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by its header; raises UserError if it is missing."""
    refuse_endless(path)
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise missing(path) from None
