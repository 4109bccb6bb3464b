"""The course of a training as a CSV file: one row an epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from imagetrail.base.files import read_csv, write_csv
from imagetrail.training.loop import Epoch


def as_row(epoch: Epoch) -> dict[str, float]:
    return {
        "epoch": epoch.number,
        "train_loss": epoch.train_loss,
        "valid_loss": epoch.valid_loss,
        "valid_top1": epoch.valid_top1,
        "lr": epoch.lr,
    }


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history file; none if it is not there."""
    if not path.exists():
        return []
    return [
        {name: int(value) if name == "epoch" else float(value) for name, value in row.items()}
        for row in read_csv(path)
    ]


def begin(path: Path) -> None:
    """Notes when a training begins, beside its history to be; a training that goes on has begun before."""
    if not _mark(path).exists():
        _mark(path).touch()


def times(path: Path) -> tuple[float, float] | None:
    """When the training with this history began and when it last wrote it, in seconds since 1970; None if it never did."""
    if not (path.exists() and _mark(path).exists()):
        return None
    return _mark(path).stat().st_mtime, path.stat().st_mtime


def _mark(path: Path) -> Path:
    return path.with_suffix(".begun")


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    write_csv(path, rows)
