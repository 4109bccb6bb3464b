"""`imagetrail audit` on scikit-learn's digits, whose labels are right until some are flipped."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tiny_samples
from numpy.typing import NDArray
from PIL import Image
from project import Project
from sklearn.datasets import load_digits

from imagetrail.base import paths, samples
from imagetrail.base.files import read_csv
from imagetrail.base.samples import Samples
from imagetrail.models.weights import save_weights, trunk_weights
from imagetrail.training import loop
from imagetrail.training.recipe import Recipe

DIGITS = load_digits()
IMAGES = (DIGITS.images * 15.9375).astype(np.uint8)[..., None]
LABELS: NDArray[np.int64] = DIGITS.target.astype(np.int64)
PARTS = {"train": range(1200), "valid": range(1200, 1400), "test": range(1400, 1797)}
FOUND = ("label_errors.csv", "metrics.json", "predictions.parquet", "suspects.png")


class Audited(Project):
    """A project of digits with these labels."""

    def build(
        self,
        labels: NDArray[np.int64] = LABELS,
        parts: Mapping[str, Sequence[int]] = PARTS,
        **audit: int,
    ) -> None:
        self.take("dvc.yaml")
        self.set(
            data={"name": "digits", "source": "digits", "image_size": 8},
            recipe={"flip": False},
            audit={"folds": 3, "epochs": 2, "images": None} | audit,
        )
        for name, numbers in parts.items():
            some, folder = list(numbers), self.root / paths.SPLIT
            kinds = [str(kind) for kind in range(10)]
            tiny_samples.write(folder, name, IMAGES[some], labels[some].tolist(), kinds)

    def audit(self, **environment: str) -> list[dict[str, str]]:
        """What it has found."""
        self.imagetrail("audit", **environment)
        return read_csv(self.root / paths.LABEL_ERRORS)

    def found(self) -> list[bytes]:
        return [(self.root / "artifacts/audit" / name).read_bytes() for name in FOUND]


def flipped(share: float) -> NDArray[np.int64]:
    """The labels, this share of them changed to another one at random."""
    rng = np.random.default_rng(0)
    which = rng.permutation(len(LABELS))[: round(share * len(LABELS))]
    labels = LABELS.copy()
    labels[which] = (labels[which] + rng.integers(1, 10, len(which))) % 10
    return labels


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """Audited with one label in twenty flipped."""
    project = Audited(tmp_path_factory.mktemp("noisy"))
    project.build(flipped(0.05))
    project.audit()
    return project


@pytest.mark.slow
def test_labels_flipped_at_random_are_found_and_little_else(noisy: Audited) -> None:
    labels = flipped(0.05)
    names = [f"{part}{i}" for part, numbers in PARTS.items() for i in range(len(numbers))]
    true = dict(zip(names, LABELS.tolist(), strict=True))
    wrong = {name for name, label in zip(names, labels, strict=True) if label != true[name]}
    rows = read_csv(noisy.root / paths.LABEL_ERRORS)
    hits = [row for row in rows if row["id"] in wrong]
    assert len(hits) >= 0.85 * len(wrong) and len(hits) >= 0.85 * len(rows)
    assert sum(int(row["suggested"]) == true[row["id"]] for row in hits) >= 0.9 * len(hits)
    assert {row["split"] for row in rows} == set(PARTS)
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True) and min(scores) > 0.5
    assert all(float(row["p_suggested"]) > float(row["p_label"]) for row in rows)


@pytest.mark.slow
def test_metrics_and_predictions_tell_of_every_label(noisy: Audited) -> None:
    rows = read_csv(noisy.root / paths.LABEL_ERRORS)
    metrics = noisy.json("audit/metrics.json")
    assert (metrics["n"], metrics["flagged"]) == (1797, len(rows))
    assert sum(row["flagged"] for row in metrics["by_class"].values()) == len(rows)
    assert sum(row["pictures"] for row in metrics["by_class"].values()) == 1797
    assert all(row["judged"] for row in metrics["by_class"].values())
    assert 0.9 < metrics["top1"] < 0.96  # at most 95 % of the labels are right
    assert 45 < metrics["wrong"] < 180  # 90 are
    table = samples.read_table(noisy.root / "artifacts/audit/predictions.parquet")
    probabilities = np.stack([table[f"p_{kind}"].to_numpy() for kind in range(10)], 1)
    assert table["label"].to_pylist() == flipped(0.05).tolist()
    assert probabilities.dtype == np.float32 and np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == LABELS).mean() > 0.95
    Image.open(noisy.root / "artifacts/audit/suspects.png").verify()


@pytest.mark.slow
def test_one_worker_or_two_and_a_stop_between_give_the_same_bytes(
    noisy: Audited, tmp_path: Path
) -> None:
    project = noisy.copy(tmp_path / "again")
    state = next((project.root / ".imagetrail/audit").iterdir())
    (state / "1.npy").unlink()
    kept = (state / "0.npy").stat().st_mtime_ns
    project.audit(IMAGETRAIL_WORKERS="1")
    assert project.found() == noisy.found()
    assert (state / "0.npy").stat().st_mtime_ns == kept
    shutil.rmtree(project.root / ".imagetrail")
    project.audit(IMAGETRAIL_WORKERS="1")
    assert project.found() == noisy.found()


@pytest.mark.slow
def test_on_a_cluster_the_answers_are_those_of_this_machine(noisy: Audited, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    project = noisy.copy(tmp_path / "again")
    shutil.rmtree(project.root / ".imagetrail")
    project.audit(IMAGETRAIL_BACKEND="ray", IMAGETRAIL_CACHE=str(tmp_path / "cache"))
    assert project.found() == noisy.found()
    assert [*(tmp_path / "cache").glob("*/content/images.npy")]


@pytest.mark.slow
def test_of_right_labels_few_are_flagged(tmp_path: Path) -> None:
    project = Audited(tmp_path)
    project.build()
    assert len(project.audit()) <= 0.01 * len(LABELS)


@pytest.mark.slow
@pytest.mark.parametrize("count", [30, 300])
def test_of_a_few_pictures_with_right_labels_hardly_one_is_flagged(
    tmp_path: Path, count: int
) -> None:
    """Class 9 has two pictures, fewer than there are folds: it is not judged."""
    some = [i for i in range(count + 20) if LABELS[i] != 9][: count - 2]
    some += np.flatnonzero(LABELS == 9)[:2].tolist()
    project = Audited(tmp_path)
    project.build(parts={"train": some[::2], "valid": some[1::4], "test": some[3::4]}, folds=5)
    assert len(project.audit()) <= 0.02 * count
    by_class = project.json("audit/metrics.json")["by_class"]
    assert by_class["9"] == {"pictures": 2, "flagged": 0, "judged": False}


@pytest.mark.slow
def test_where_the_project_has_frozen_features_a_head_on_them_finds_wrong_labels(
    tmp_path: Path,
) -> None:
    labels, project = flipped(0.05), Audited(tmp_path)
    project.build(labels, epochs=1)
    frozen = {"model": "fast", "fine_tune": False, "augmented": 0.3, "shift": 0}
    project.set(recipe={"flip": False, "label_smoothing": 0.0} | frozen)
    known = Samples(IMAGES, pa.table({"label": LABELS}), tuple("0123456789"))
    recipe = Recipe(model="fast", activation="relu", epochs=1, lr=0.1)
    trunk = trunk_weights(loop.start(recipe, known, seed=0).model)  # drawn, not learned
    save_weights(trunk, tmp_path / paths.PRETRAINED)
    found = {row["id"] for row in project.audit()}
    names = [f"{part}{i}" for part, numbers in PARTS.items() for i in range(len(numbers))]
    wrong = {name for name, old, new in zip(names, LABELS, labels, strict=True) if old != new}
    assert len(found & wrong) >= 0.7 * len(wrong) and len(found & wrong) >= 0.7 * len(found)
    assert list((tmp_path / ".imagetrail/features").glob("*.db"))


def _is_empty_but_whole(project: Audited) -> bool:
    """Whether nothing is judged, no training was begun, and every out can be read all the same."""
    if project.audit():
        return False
    metrics = project.json("audit/metrics.json")
    table = samples.read_table(project.root / "artifacts/audit/predictions.parquet")
    Image.open(project.root / "artifacts/audit/suspects.png").verify()
    return (
        (metrics["n"], metrics["flagged"]) == (0, 0)
        and len(table) == 0
        and "p_9" in table.column_names
        and not (project.root / ".imagetrail").exists()
    )


def test_no_folds_is_no_audit_and_every_out_is_there(tmp_path: Path) -> None:
    project = Audited(tmp_path)
    project.build(folds=0)
    assert _is_empty_but_whole(project)


def test_pictures_that_all_belong_together_are_not_judged(tmp_path: Path) -> None:
    project = Audited(tmp_path)
    project.build()
    for name in PARTS:
        count = len(PARTS[name])
        tiny_samples.group(project.root / paths.SPLIT / name, ["one patient"] * count)
    assert _is_empty_but_whole(project)


def test_one_fold_is_refused(tmp_path: Path) -> None:
    project = Audited(tmp_path)
    project.build(folds=1)
    printed = project.imagetrail("audit", ok=False)
    assert "params.yaml: audit.folds" in printed and "2 or more" in printed
    assert "Traceback" not in printed
