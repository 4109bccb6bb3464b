"""A model's answers about pictures: which model, which classes, and as what text. No torch."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagetrail.base import paths, pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.params import read_yaml
from imagetrail.base.words import percent
from imagetrail.serving.inputs import Batch
from imagetrail.serving.onnx_model import Model


@dataclass(frozen=True)
class Answer:
    """What is in a picture."""

    file: str
    ranked: tuple[tuple[str, float], ...]  # (class, calibrated probability), the likeliest first
    unsure: bool
    explanation: str | None = None  # the picture that shows where the model looked


def model_in_use(named: Path | None = None) -> Path:
    """The ONNX file to use: the one named, else the champion, else what export chose."""
    if named:
        return named
    if paths.champion_present():
        return paths.CHAMPION_MODEL
    try:
        return pipeline.challenger()
    except UserError as error:
        read_yaml(Path("params.yaml"))  # tells that this is no folder of a project
        raise UserError(f"there is no champion, and {error}") from None


def answers(model: Model, batch: Batch, *, top: int, unsure: float) -> list[Answer]:
    """The `top` likeliest classes of each picture; unsure if the first is below `unsure`."""
    probabilities = model.predict(batch.images)
    order = np.argsort(-probabilities, 1, kind="stable")[:, :top]
    return [
        Answer(
            file,
            tuple((model.classes[k], float(row[k])) for k in best),
            bool(row[best[0]] < unsure),
        )
        for file, row, best in zip(batch.files, probabilities, order, strict=True)
    ]


def as_table(answered: Iterable[Answer], files: Sequence[str]) -> Iterator[str]:
    """Lines to be read by people, without classes that would be shown as 0.0 %."""
    width = min(60, max(map(len, files)))
    for answer in answered:
        best, *others = [f"{name} {percent(p, 1)}" for name, p in answer.ranked]
        found = "  ".join([best, *(other for other in others if not other.endswith(" 0.0 %"))])
        line = f"{answer.file:{width}s}  {'unsure: ' if answer.unsure else ''}{found}"
        yield f"{line}  {answer.explanation}" if answer.explanation else line


def as_json(answered: Iterable[Answer], _: Sequence[str]) -> Iterator[str]:
    """An object a line. A name that is not UTF-8 has its odd bytes as os.fsdecode gives them."""
    for answer in answered:
        best, p = answer.ranked[0]
        row = {
            "file": answer.file,
            "class": best,
            "probability": round(p, 6),
            "unsure": answer.unsure,
        }
        row["top"] = [{"class": name, "probability": round(p, 6)} for name, p in answer.ranked]
        yield json.dumps(row | ({"explanation": answer.explanation} if answer.explanation else {}))


def as_csv(answered: Iterable[Answer], _: Sequence[str]) -> Iterator[str]:
    """A header, then a row a picture; further classes in columns class_2, probability_2, …"""
    head = True
    for answer in answered:
        row: dict[str, object] = {"file": answer.file}
        for rank, (name, p) in enumerate(answer.ranked, 1):
            number = f"_{rank}" if rank > 1 else ""
            row |= {f"class{number}": name, f"probability{number}": f"{p:.6f}"}
            row |= {"unsure": str(answer.unsure).lower()} if rank == 1 else {}
        row |= {"explanation": answer.explanation} if answer.explanation else {}
        for values in [[*row], row.values()] if head else [row.values()]:
            line = io.StringIO()
            # Of \r and \n in a name, csv quotes only what the terminator has.
            csv.writer(line, lineterminator="\r\n").writerow(values)
            yield line.getvalue()[:-2]
        head = False


FORMATS: dict[str, Callable[[Iterable[Answer], Sequence[str]], Iterator[str]]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
}
