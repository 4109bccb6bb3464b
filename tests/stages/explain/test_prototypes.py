"""What a mistake is like."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from article import SPEC

from imagetrail.base.samples import Samples, make_index
from imagetrail.models.classifier import Classifier
from imagetrail.stages.explain import prototypes


def test_the_surest_mistakes_come_first_and_what_is_right_never(tmp_path: Path) -> None:
    labels, predicted = [0, 1, 0, 1], [1, 1, 1, 0]
    first = np.array([0.4, 0.0, 0.1, 0.6], np.float32)
    table = {"label": labels, "predicted": predicted, "p_a": first, "p_b": 1 - first}
    pq.write_table(pa.table(table), tmp_path / "answers.parquet")
    found = prototypes.surest_mistakes(tmp_path / "answers.parquet", ("a", "b"))
    # 0.9 that it is b, then two by 0.6, the first of them first
    assert found.tolist() == [2, 0, 3]


def test_without_mistakes_there_are_none(tmp_path: Path) -> None:
    table = {"label": [0, 1], "predicted": [0, 1], "p_a": [0.9, 0.1], "p_b": [0.1, 0.9]}
    pq.write_table(pa.table(table), tmp_path / "answers.parquet")
    assert not len(prototypes.surest_mistakes(tmp_path / "answers.parquet", ("a", "b")))


def test_a_copy_among_the_training_pictures_is_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Classifier(SPEC).eval()
    images = np.random.default_rng(0).integers(0, 256, (50, *SPEC.shape), np.uint8)
    ids = [str(i) for i in range(50)]
    index = make_index(ids=ids, labels=np.zeros(50, int), origin="real", sources=ids)
    train = Samples(images, index, SPEC.classes)
    found, searched = prototypes.beside(model, images[[7, 31]], train, np.random.default_rng(0))
    assert searched == 50 and [rows[0] for rows in found] == [7, 31]
    assert all(len(set(rows)) == prototypes.BESIDE for rows in found)
    monkeypatch.setattr(prototypes, "PIXELS", 10 * 28 * 28)
    found, searched = prototypes.beside(model, images[[7]], train, np.random.default_rng(0))
    assert searched == 10 and set(found[0]) <= set(range(50))
