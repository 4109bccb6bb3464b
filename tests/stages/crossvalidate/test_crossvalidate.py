"""`imagetrail crossvalidate` on scikit-learn's digits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_samples
import yaml
from training_project import TrainingProject

from imagetrail.base import samples
from imagetrail.training.out_of_fold import _made
from imagetrail.training.recipe import Recipe

RECIPE = {
    "batch_size": 64,
    "width": 0.5,
    "flip": False,
    "shift": 1,
    "repeat_to": 4000,
    "augmented": 0.2,
    "synthetic": 0.1,
}


class Crossed(TrainingProject):
    stage = "crossvalidate"

    def build(self) -> None:
        super().build()
        params = yaml.safe_load((self.root / "params.yaml").read_text())
        recipe = {key: value for key, value in params["recipe"].items() if key not in RECIPE}
        plain = ("rotate", "zoom", "cutout", "mixup", "cutmix", "dropout")
        recipe |= dict.fromkeys(plain, 0) | RECIPE
        self.set(split={"folds": 3})
        for stage in ("compare", "tune"):  # the recipe is the final training's, whatever they say
            shutil.rmtree(self.root / "artifacts" / stage)
        (self.root / "artifacts/train").mkdir()
        trained = recipe | {"activation": "silu", "epochs": 2}
        (self.root / "artifacts/train/recipe.json").write_text(json.dumps(trained))
        train = samples.read(self.root / "data/split/train")
        test, few = train.images[700:], train.labels[700:].tolist()
        classes = list(train.classes)
        tiny_samples.write(self.root / "data/split", "test", test, few, classes)
        images, labels = train.images[:700], train.labels[:700].tolist()
        tiny_samples.write(self.root / "data/split", "train", images, labels, classes)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Crossed:
    project = Crossed(tmp_path_factory.mktemp("crossed"))
    project.build()
    project.complete()
    return project


@pytest.mark.slow
def test_every_picture_is_judged_once_and_well(crossed: Crossed) -> None:
    found = crossed.json("crossvalidate/metrics.json")
    assert (found["n"], found["folds"]) == (1497, 3)
    assert found["top1_low"] < found["top1"] < found["top1_high"] and found["top1"] > 0.9
    assert 0 < found["top1_sd"] < 0.05
    path = crossed.root / "artifacts/crossvalidate/predictions.parquet"
    table = samples.read_table(path)
    assert len(set(table["id"].to_pylist())) == len(table) == 1497
    assert np.bincount(table["fold"].to_numpy()).tolist() == [499, 499, 499]
    probabilities = np.stack([table[f"p_{kind}"].to_numpy() for kind in range(10)], 1)
    assert (probabilities.argmax(1) == table["label"].to_numpy()).mean() == pytest.approx(
        found["top1"], abs=1e-6
    )


@pytest.mark.slow
def test_a_patient_is_in_one_fold(crossed: Crossed, tmp_path: Path) -> None:
    project = crossed.copy(tmp_path / "patients")
    valid = project.root / "data/split/valid"
    ids = samples.read(valid).index["id"].to_pylist()
    patients = [f"p{number // 50}" for number in range(len(ids))]
    tiny_samples.group(valid, patients)
    project.complete()
    table = samples.read_table(project.root / "artifacts/crossvalidate/predictions.parquet")
    folds = dict(zip(table["id"].to_pylist(), table["fold"].to_pylist(), strict=True))
    lies = {(patient, folds[picture]) for patient, picture in zip(patients, ids, strict=True)}
    assert len(lies) == len(set(patients)) > 5


@pytest.mark.slow
def test_a_stop_between_folds_gives_the_same_bytes(crossed: Crossed) -> None:
    before = crossed.outs()
    next((crossed.root / ".imagetrail/crossvalidate").glob("*/1.npy")).unlink()
    crossed.complete(IMAGETRAIL_WORKERS="1")
    assert crossed.outs() == before


def test_no_folds_no_training(tmp_path: Path) -> None:
    project = Crossed(tmp_path)
    project.build()
    project.set(split={"folds": 0})
    assert "not asked for" in project.complete()
    assert project.json("crossvalidate/metrics.json") == {"n": 0, "folds": 0}
    assert len(samples.read_table(tmp_path / "artifacts/crossvalidate/predictions.parquet")) == 0


def test_augmented_images_of_held_out_pictures_are_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = tiny_samples.write_toy(tmp_path, "train", count=6)
    index = samples.make_index(
        ids=[f"new{i}" for i in range(6)],
        labels=train.labels,
        origin="augmented",
        parents=[f"train{i}" for i in (0, 1, 1, 2, 4, 5)],
        sources=[""] * 6,
    )
    samples.write(
        Path("data/augmented"), [train.images], index, classes=train.classes, shape=(8, 8, 1)
    )
    recipe = Recipe(model="linear", activation="relu", lr=0.1, epochs=1, augmented=0.5)
    ((_, share, out),) = _made(recipe, train, np.array([1, 4]))
    assert share == 0.5 and out.tolist() == [1, 2, 4]
