"""The course of a training as a CSV file: one row an epoch."""

from dataclasses import asdict
from pathlib import Path

from imagetrail.base.files import read_csv
from imagetrail.training.loop import Epoch


def as_row(epoch: Epoch) -> dict[str, float]:
    """An epoch with all that was measured, its number first."""
    values = asdict(epoch)
    return {"epoch": values.pop("number"), **values}


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history file; none if it is not there."""
    if not path.exists():
        return []
    return [
        {name: int(value) if name == "epoch" else float(value) for name, value in row.items()}
        for row in read_csv(path)
    ]
