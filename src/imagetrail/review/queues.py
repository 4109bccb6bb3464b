"""What there is to review, the most telling first: what audit, inspect and evaluate have found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagetrail.base import paths, samples
from imagetrail.base.errors import damaged
from imagetrail.base.files import read_csv
from imagetrail.data.pictures import Pictures

PREDICTIONS = paths.ARTIFACTS / "evaluate" / "predictions.parquet"


@dataclass(frozen=True, slots=True)
class Item:
    """A picture, or a group of pictures that are as good as equal, and what speaks against it."""

    sources: tuple[str, ...]
    reason: str
    suggested: str = ""  # a class; empty: none
    p_label: float | None = None  # what a model gives the label
    p_suggested: float | None = None


@dataclass(frozen=True)
class Queue:
    name: str
    title: str
    items: Sequence[Item] | None  # null: nothing was looked for yet
    made_by: str  # the command that makes it


def read_queues(pictures: Pictures, splits: Mapping[str, str], name: str) -> list[Queue]:
    """The queues; `name` is that of the data set. Raises UserError for a file that is damaged."""

    def queue(key: str, title: str, file: Path, read: Callable[[], list[Item]], by: str) -> Queue:
        return Queue(key, title, read() if file.exists() else None, f"dvc repro {by}")

    labels = dict(zip(pictures.sources, pictures.labels.tolist(), strict=True))
    return [
        queue("labels", "Label errors", paths.LABEL_ERRORS, _label_errors, "audit"),
        queue(
            "duplicates",
            "Duplicates",
            paths.FINGERPRINTS,
            lambda: _duplicates(labels, splits),
            "inspect",
        ),
        queue("mistakes", "Mistakes", PREDICTIONS, lambda: _mistakes(name), "evaluate"),
        queue("unreadable", "Unreadable", paths.QUARANTINE, _unreadable, "inspect"),
    ]


def read_splits(pictures: Pictures) -> dict[str, str]:
    """The split of each source: where it is now, or else as it was published."""
    found = dict(zip(pictures.sources, pictures.splits, strict=True))
    for folder in (paths.TRAIN, paths.VALID, paths.TEST):
        index = folder / "index.parquet"
        if index.exists():
            sources = samples.read_table(index, columns=["source"])["source"].to_pylist()
            found |= dict.fromkeys(sources, folder.name)
    return found


def _label_errors() -> list[Item]:
    """In the order of the file: the likeliest error first."""
    try:
        return [
            Item(
                (row["source"],),
                "suspected label error",
                row["suggested"],
                float(row["p_label"]),
                float(row["p_suggested"]),
            )
            for row in read_csv(paths.LABEL_ERRORS)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(paths.LABEL_ERRORS, error) from None


def _duplicates(labels: Mapping[str, int], splits: Mapping[str, str]) -> list[Item]:
    """Groups with labels that disagree first, then those on two sides of the split."""
    table = samples.read_table(paths.FINGERPRINTS)
    prints = table["fingerprint"].to_pylist()
    unknown = [None] * len(prints)
    near = table["near"].to_pylist() if "near" in table.column_names else unknown
    sources = table["source"].to_pylist()
    groups: dict[str | int, list[int]] = {}
    for i, (group, fingerprint) in enumerate(zip(near, prints, strict=True)):
        if fingerprint is not None and sources[i] in labels:  # readable, and still there
            groups.setdefault(fingerprint if group is None else group, []).append(i)
    rated = []
    for group in groups.values():
        if len(group) < 2:
            continue
        names = tuple(sources[i] for i in group)
        facts = ["exact duplicates" if len({prints[i] for i in group}) == 1 else "near duplicates"]
        clash = len({labels[name] for name in names}) > 1
        across = len({splits[name] for name in names}) > 1
        facts += ["different labels"] * clash + ["on two sides of the split"] * across
        rated.append(((not clash, not across), Item(names, ", ".join(facts))))
    return [item for _, item in sorted(rated, key=lambda found: found[0])]


def _mistakes(name: str) -> list[Item]:
    """Wrong answers on test, the surest first."""
    table = samples.read_table(PREDICTIONS)
    columns = [column for column in table.column_names if column.startswith("p_")]
    labels, predicted = (table[column].to_numpy() for column in ("label", "predicted"))
    wrong = np.flatnonzero(labels != predicted)
    rows = table.take(wrong)
    p = np.stack([rows[column].to_numpy() for column in columns], 1) if columns else np.empty((0,))
    ids = rows["id"].to_pylist()
    each = np.arange(len(wrong))
    of_label, of_answer = p[each, labels[wrong]], p[each, predicted[wrong]]
    return [
        Item(
            (ids[i].removeprefix(f"{name}/"),),
            "mistake of the model",
            columns[predicted[wrong[i]]].removeprefix("p_"),
            float(of_label[i]),
            float(of_answer[i]),
        )
        for i in np.argsort(-of_answer, kind="stable").tolist()
    ]


def _unreadable() -> list[Item]:
    try:
        return [Item((row["source"],), row["reason"]) for row in read_csv(paths.QUARANTINE)]
    except KeyError as error:
        raise damaged(paths.QUARANTINE, f"no column {error}") from None
