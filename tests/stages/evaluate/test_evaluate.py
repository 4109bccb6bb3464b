"""`imagetrail evaluate` where the weak spot is known: pictures of `night` are often misfiled."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny_samples
from PIL import Image
from project import Project

from imagetrail.base import paths, samples
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_csv
from imagetrail.base.units import units
from imagetrail.metrics import intervals, scores
from imagetrail.metrics.calibration import Calibration
from imagetrail.models import weights
from imagetrail.stages.evaluate import slices
from imagetrail.stages.evaluate.corruptions import CORRUPTIONS
from imagetrail.stages.evaluate.stage import measure, run
from imagetrail.stages.fetch import stage as fetch
from imagetrail.stages.inspect import stage as inspect
from imagetrail.stages.split import stage as split
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import Recipe

CLASSES = ("left", "middle", "right")
RECIPE = Recipe(
    model="fast",
    activation="relu",
    epochs=6,
    batch_size=64,
    lr=0.005,
    width=0.5,
    label_smoothing=0.1,
    repeat_to=1000,
)


def draw_pictures(folder: Path, count: int = 900) -> None:
    """Noise with a bright stripe for the class; a third is from `night`, two thirds of it lie."""
    rng = np.random.default_rng(0)
    for i in range(count):
        kind, night = i % 3, rng.random() < 1 / 3
        pixels = rng.integers(0, 100, (9, 9), np.uint8)
        pixels[:, 3 * kind : 3 * kind + 3] += rng.integers(20, 150, dtype=np.uint8)
        filed = CLASSES[rng.integers(3) if night else kind]
        path = folder / filed / ("night" if night else "") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def set_params(**changes: Any) -> None:
    small = {"bootstrap": 200, "corrupted": 100, "slices": ["origin"], "unknown": "digits"}
    Project(Path()).set(
        data={"name": "pictures", "source": "own", "path": "pictures", "image_size": 9},
        evaluate=small | changes,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, in which everything up to evaluate has run."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        draw_pictures(root / "pictures")
        set_params()
        for stage in (fetch, inspect, split):
            stage.run()
        train, valid = samples.read(paths.TRAIN), samples.read(paths.VALID)
        begun = loop.start(RECIPE, train, seed=0)
        list(loop.fit(begun, Mixture(train, repeat_to=RECIPE.repeat_to), valid))
        weights.save(begun.outcome, paths.ARTIFACTS / "train")
        run()
        yield root


@pytest.fixture
def copy(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is a copy of it, to be changed."""
    shutil.copytree(project, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


def result(file: str = "metrics.json") -> Any:
    return json.loads((paths.ARTIFACTS / "evaluate" / file).read_text())


@pytest.mark.usefixtures("project")
def test_every_metric_comes_with_an_interval_around_it() -> None:
    found = result()
    names = [
        *scores.METRICS,
        "topk",
        "log_loss_calibrated",
        "brier_calibrated",
        "ece_calibrated",
        "mean_corruption_error",
    ]
    for name in [*names, "unknown_auroc"]:
        low, high = found[f"{name}_low"], found[f"{name}_high"]
        assert low < high and found[name] <= high, name
        # resampling makes calibration look worse, never better
        assert low <= found[name] or name.startswith("ece"), name
    assert found["k"] == 2 and found["topk"] > found["top1"]
    for row in result("classes.json"):
        assert all(
            row[f"{name}_low"] < row[name] < row[f"{name}_high"] for name in ("precision", "recall")
        )


@pytest.mark.usefixtures("project")
def test_everything_can_be_recomputed_from_the_predictions() -> None:
    found, table = result(), pq.read_table(paths.ARTIFACTS / "evaluate/predictions.parquet")
    probabilities = np.column_stack([table[f"p_{name}"].to_numpy() for name in CLASSES]).astype(
        np.float64
    )
    labels = table["label"].to_numpy()
    calibrated = Calibration(found["temperature"], found["bend"])(np.log(probabilities))
    together = units(samples.read(paths.TEST).index)
    again = measure(probabilities, calibrated, labels, draws=200, seed=0, units=together)
    assert {name: round(value, 6) for name, value in again.items()} == {
        name: found[name] for name in again
    }
    assert found["top1"] == round(scores.top1(probabilities, labels), 6)
    assert found["ece_calibrated"] == round(scores.ece(calibrated, labels), 6) != found["ece"]
    assert found["log_loss_calibrated"] == round(scores.log_loss(calibrated, labels), 6)
    test = samples.read(paths.TEST)
    assert table["id"].to_pylist() == test.column("id") and (labels == test.labels).all()
    assert slices.by_class(probabilities, test, together) == result("classes.json")
    confidence, accuracy = scores.coverage(calibrated, labels)
    for row in read_csv(paths.ARTIFACTS / "evaluate/coverage.csv"):
        last = round(float(row["coverage"]) * len(labels)) - 1
        assert float(row["top1"]) == pytest.approx(accuracy[last], abs=1e-6)
        assert float(row["threshold"]) == pytest.approx(confidence[last], abs=1e-6)


@pytest.mark.usefixtures("project")
def test_answering_only_when_sure_is_right_more_often() -> None:
    rows = read_csv(paths.ARTIFACTS / "evaluate/coverage.csv")
    assert len(rows) == 100 and float(rows[-1]["coverage"]) == 1
    assert float(rows[-1]["top1"]) == result()["top1"] < float(rows[30]["top1"])
    assert result()["aurc"] < 1 - result()["top1"]


@pytest.mark.usefixtures("project")
def test_the_weak_slice_is_found() -> None:
    rows = read_csv(paths.ARTIFACTS / "evaluate/slices.csv")
    by_source = {row["value"]: row for row in rows if row["column"] == "source"}
    assert set(by_source) == {"", "night"}
    assert float(by_source["night"]["high"]) < float(by_source[""]["low"])
    for column in ("class", "source", "origin"):
        mine = [row for row in rows if row["column"] == column]
        right = sum(float(row["top1"]) * int(row["images"]) for row in mine)
        assert right / result()["n"] == pytest.approx(result()["top1"], abs=1e-5)


@pytest.mark.usefixtures("project")
def test_corruptions_are_judged_one_by_one_and_in_the_mean() -> None:
    rows = read_csv(paths.ARTIFACTS / "evaluate/robustness.csv")
    assert [(row["corruption"], row["strength"]) for row in rows] == [
        (name, s) for s in "123" for name in CORRUPTIONS
    ]
    found = result()
    assert found["mean_corruption_error"] == pytest.approx(
        1 - np.mean([float(row["top1"]) for row in rows]), abs=1e-6
    )
    top1 = {(row["corruption"], row["strength"]): float(row["top1"]) for row in rows}
    assert (
        top1["noise", "3"] < found["top1_clean_subset"]
        and top1["occlusion", "3"] < top1["occlusion", "1"]
    )
    assert found["corrupted"] == 100 < found["n"]
    assert abs(found["top1_clean_subset"] - found["top1"]) < 0.15


@pytest.mark.usefixtures("project")
def test_pictures_of_another_data_set_are_told_apart_if_asked_for() -> None:
    unknown = samples.read(paths.UNKNOWN)
    assert len(unknown) == 1797 and set(unknown.column("origin")) == {"unknown"}
    assert unknown.images.shape[1:] == samples.read(paths.TEST).images.shape[1:]
    assert 0 < result()["unknown_auroc"] < 1


@pytest.mark.usefixtures("copy")
def test_without_another_data_set_none_is_fetched_or_judged() -> None:
    set_params(unknown=None)
    for stage in (fetch, split):
        stage.run()
    run()
    assert [path.name for path in paths.UNKNOWN_FILES.iterdir()] == ["datasets.json"]
    assert samples.read(paths.UNKNOWN).images.shape == (0, 9, 9, 1)
    assert not [name for name in result() if name.startswith("unknown")]


@pytest.mark.usefixtures("copy")
def test_a_column_that_the_index_lacks_is_refused_with_those_it_has() -> None:
    set_params(slices=["orign"])
    hint = r"did you mean 'origin'\? choose from fingerprint, group, id, "
    with pytest.raises(UserError, match=f"evaluate.slices: unknown column 'orign'; {hint}"):
        run()


@pytest.mark.usefixtures("copy")
def test_pictures_of_few_patients_make_every_interval_wider() -> None:
    before = result()
    count = len(samples.read(paths.TEST))
    # two patients of 30 % each, of the first or second half; the others are by themselves
    names = [f"{2 * i // count}" if i % 5 < 3 else f"p{i}" for i in range(count)]
    tiny_samples.group(paths.TEST, names)
    run()
    for name in ("top1", "macro_f1", "log_loss", "mean_corruption_error"):
        old, new = (found[f"{name}_high"] - found[f"{name}_low"] for found in (before, result()))
        assert result()[name] == before[name] and new != pytest.approx(old, rel=0.01), name
    assert result()["top1_high"] - result()["top1_low"] > before["top1_high"] - before["top1_low"]


def test_a_model_without_mistakes_is_judged_too(
    make_samples: Callable[..., samples.Samples],
) -> None:
    labels = np.array([0, 1, 2] * 5)
    sure = np.eye(3)[labels] * 0.98 + 0.02 / 3
    found = measure(sure, sure, labels, draws=100, seed=0, units=np.arange(len(labels)))
    assert found["top1"] == found["macro_f1"] == 1 and found["aurc"] == 0
    assert found["top1_low"] < 0.9 < found["top1_high"] == 1, "15 images do not show more"
    test = make_samples("sure", np.zeros((15, 4, 4, 1), np.uint8), labels, CLASSES)
    assert all(
        row["recall"] == 1 and row["recall_low"] < 0.8
        for row in slices.by_class(sure, test, np.arange(15))
    )


def test_precision_is_of_what_was_predicted_and_recall_of_what_was_labelled(
    make_samples: Callable[..., samples.Samples],
) -> None:
    test = make_samples("four", np.zeros((4, 4, 4, 1), np.uint8), [0, 0, 1, 1])
    answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
    rows = slices.by_class(answers, test, np.arange(4))
    assert [(row["class"], row["images"], row["precision"], row["recall"]) for row in rows] == [
        ("left", 2, 1.0, 0.5),
        ("right", 2, 0.666667, 1.0),
    ]


def test_a_slice_that_is_the_whole_test_set_has_the_interval_of_the_whole() -> None:
    right, together = np.arange(200) < 180, np.arange(200) // 4
    (row,) = slices.judge({"source": ["all"] * 200}, right, together)
    low, high = intervals.accuracy(right, together)
    assert (row["low"], row["high"]) == (round(low, 6), round(high, 6))


@pytest.mark.parametrize(
    ("source", "kind", "group"),
    [
        ("t10k-images-idx3-ubyte#17", "Bag", "t10k-images-idx3-ubyte"),
        ("test/cat/night/1.jpg", "cat", "test/night"),
        ("cat/1#2.jpg", "cat", ""),
        ("1.jpg", "cat", ""),
    ],
)
def test_a_source_is_the_folder_without_the_class_or_the_file_of_many_pictures(
    source: str, kind: str, group: str
) -> None:
    index = samples.make_index(ids=["a"], labels=[0], origin="real", sources=[source])
    test = samples.Samples(np.zeros((1, 4, 4, 1), np.uint8), index, (kind,))
    assert slices.groups(test, [])["source"] == [group]
    assert slices.groups(test, ["source"])["source"] == [source]
