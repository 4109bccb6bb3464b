"""`imagetrail audit` on scikit-learn's digits, whose labels are right until some are flipped."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_samples
from numpy.typing import NDArray
from PIL import Image
from project import Project
from sklearn.datasets import load_digits

from imagetrail.base import paths, samples
from imagetrail.base.files import read_csv, read_json
from imagetrail.stages.audit.stage import run

DIGITS = load_digits()
IMAGES = (DIGITS.images * 15.9375).astype(np.uint8)[..., None]
LABELS: NDArray[np.int64] = DIGITS.target.astype(np.int64)
PARTS = {"train": slice(0, 1200), "valid": slice(1200, 1400), "test": slice(1400, 1797)}
FOUND = ("label_errors.csv", "metrics.json", "predictions.parquet", "suspects.png")

Build = Callable[..., None]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """`build(labels)` makes a project of these digits in the current folder."""
    monkeypatch.chdir(tmp_path)

    def build(
        labels: NDArray[np.int64] = LABELS,
        images: NDArray[np.uint8] = IMAGES,
        parts: dict[str, slice] = PARTS,
        **audit: int,
    ) -> None:
        project = Project(tmp_path)
        project.take("dvc.yaml")
        project.set(
            data={"name": "digits", "source": "digits", "image_size": 8},
            recipe={"flip": False, "shift": 1},
            audit={"folds": 3, "epochs": 2, "images": None} | audit,
        )
        classes = [str(kind) for kind in range(10)]
        for name, part in parts.items():
            some = labels[part].tolist()
            tiny_samples.write(tmp_path / paths.SPLIT, name, images[part], some, classes)

    return build


def flipped(share: float, seed: int = 0) -> NDArray[np.int64]:
    """The labels, this share of them changed to another one at random."""
    rng = np.random.default_rng(seed)
    which = rng.permutation(len(LABELS))[: round(share * len(LABELS))]
    labels = LABELS.copy()
    labels[which] = (labels[which] + rng.integers(1, 10, len(which))) % 10
    return labels


def suspects() -> list[dict[str, str]]:
    return read_csv(paths.LABEL_ERRORS)


def bytes_found() -> list[bytes]:
    return [(paths.artifacts("audit") / name).read_bytes() for name in FOUND]


def test_labels_flipped_at_random_are_found_and_little_else(build: Build) -> None:
    labels = flipped(0.05)
    build(labels)
    run()
    names = [f"{name}{i}" for name, part in PARTS.items() for i in range(len(LABELS[part]))]
    wrong = {name for name, now, was in zip(names, labels, LABELS, strict=True) if now != was}
    true = dict(zip(names, LABELS.tolist(), strict=True))
    found = {row["id"]: row for row in suspects()}
    right = found.keys() & wrong
    assert len(right) >= 0.85 * len(wrong)
    assert len(right) >= 0.85 * len(found)
    assert sum(int(found[name]["suggested"]) == true[name] for name in right) >= 0.9 * len(right)
    assert {row["split"] for row in found.values()} == set(PARTS)
    scores = [float(row["score"]) for row in suspects()]
    assert scores == sorted(scores, reverse=True)
    metrics = read_json(paths.artifacts("audit") / "metrics.json")
    assert metrics["n"] == 1797 and metrics["flagged"] == len(found)
    assert sum(row["flagged"] for row in metrics["by_class"].values()) == len(found)
    assert abs(metrics["wrong"] - len(wrong)) < 0.5 * len(wrong)


def test_of_right_labels_few_are_flagged(build: Build) -> None:
    build()
    run()
    assert len(suspects()) <= 0.01 * len(LABELS)
