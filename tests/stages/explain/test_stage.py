"""The stage, whole: on pictures that a known place tells apart."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_samples
import torch
import yaml

from imagetrail.base import paths
from imagetrail.base.files import read_csv, read_json
from imagetrail.models import weights
from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import Spec
from imagetrail.stages.explain import stage

COUNT = 24


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Of a network of no convolution, which is sure of the brighter half, and wrong once."""
    monkeypatch.chdir(tmp_path)
    for part, seed in ((paths.TRAIN, 1), (paths.TEST, 2)):
        tiny_samples.write_toy(part.parent, part.name, count=COUNT, size=16, seed=seed)
    spec = Spec("linear", None, 1.0, 0.0, ("left", "right"), 16, 1, (110.0,), (60.0,))
    model = Classifier(spec)
    side = torch.ones(16, 16)
    side[:, 8:] = -1
    layer = next(part for part in model.head.modules() if isinstance(part, torch.nn.Linear))
    layer.weight.data = torch.stack([side.flatten(), -side.flatten()]) / 128
    weights.save(model, paths.artifacts("train"))
    labels = np.arange(COUNT) % 2
    predicted = labels.copy()
    predicted[5] = 1 - predicted[5]
    answers = {"label": labels, "predicted": predicted, "p_left": [0.5] * COUNT}
    table = pa.table(answers | {"p_right": [0.5] * COUNT})
    pq.write_table(table, paths.artifacts("evaluate") / "predictions.parquet")
    params = {"seed": 0, "explain": {"per_class": 2, "pictures": 16}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    return stage.run()


def test_what_passes_is_drawn_and_chosen(run: dict[str, float]) -> None:
    scores = read_json(Path("artifacts/explain/scores.json"))
    drawn = {file.stem for file in Path("artifacts/explain/maps").glob("*.png")}
    passed = {name for name, found in scores["methods"].items() if found["passed"]}
    assert run == {"images": 16} and scores["method"] == "occlusion"
    curves = read_csv(Path("artifacts/explain/curves.csv"))
    assert {row["method"] for row in curves} == set(scores["methods"]) and len(curves) == 2 * 2 * 5
    # a network without convolutions has no maps of layers
    assert set(scores["methods"]) == {"occlusion", "integrated_gradients"}
    assert drawn == passed | {"means", "mistakes", "prototypes"}


def test_shortcuts_and_what_was_searched_are_told(run: dict[str, float]) -> None:
    scores = read_json(Path("artifacts/explain/scores.json"))
    assert run and scores["shortcut_pictures"] == scores["train_searched"] == COUNT
    assert [row["without"] for row in scores["shortcuts"]] == ["border", "surroundings", "centre"]


def test_a_second_run_writes_the_same(run: dict[str, float]) -> None:
    first = json.loads(Path("artifacts/explain/scores.json").read_text())
    assert stage.run() == run
    assert json.loads(Path("artifacts/explain/scores.json").read_text()) == first


def test_where_nothing_passes_there_is_no_map(
    run: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagetrail.stages.explain import judgement

    monkeypatch.setattr(judgement, "ALIKE", -1.0)  # no map is so unlike
    assert run and stage.run()
    drawn = {file.stem for file in Path("artifacts/explain/maps").glob("*.png")}
    assert drawn == {"prototypes"}
    assert read_json(Path("artifacts/explain/scores.json"))["method"] is None


def test_of_many_classes_those_with_most_mistakes_are_drawn(
    run: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: dict[str, list[str]] = {}

    def note(_images: object, _maps: object, titles: list[str], path: Path) -> None:
        sheets[path.stem] = titles

    monkeypatch.setattr(stage, "SHOWN", 1)
    monkeypatch.setattr(stage.charts, "saliency", note)
    assert run and stage.run()
    assert sheets["occlusion"] == ["right", "right"]  # picture 5 is of this class


def test_maps_begin_at_nothing_and_end_at_the_most() -> None:
    maps = torch.tensor([[[-1.0, 2.0], [0.0, 4.0]], [[-1.0, -2.0], [0.0, -3.0]]])
    assert stage.scaled(maps).tolist() == [[[0, 0.5], [0, 1]], [[0, 0], [0, 0]]]
