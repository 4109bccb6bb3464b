"""The whole pipeline on scikit-learn's digits: real DVC, real MLflow on sqlite, no network."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow_store import said_of
from project import Project

from imagetrail.base import samples
from imagetrail.base.samples import fingerprint
from imagetrail.cli.main import STAGES
from imagetrail.metrics import scores as metrics
from imagetrail.serving import onnx_model

pytestmark = pytest.mark.slow


def ran(output: str) -> list[str]:
    """The stages that an output of `dvc repro` says it ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_every_stage_leaves_what_it_promises(repo: Project) -> None:
    locked = yaml.safe_load((repo.root / "dvc.lock").read_text())["stages"]
    assert list(locked) == list(STAGES)
    missing = [
        out["path"]
        for stage in locked.values()
        for out in stage["outs"]
        if not (repo.root / out["path"]).exists()
    ]
    assert not missing


def test_the_model_has_learned(repo: Project) -> None:
    found = repo.json("evaluate/metrics.json")
    assert found["top1"] > 0.85
    assert found["top1_low"] < found["top1"] < found["top1_high"]


def test_a_second_repro_runs_nothing(repo: Project) -> None:
    assert ran(repo.dvc("repro")) == []


def test_no_picture_is_on_two_sides(repo: Project) -> None:
    parts = {
        name: samples.read(repo.root / "data/split" / name) for name in ("train", "valid", "test")
    }
    prints = {name: {fingerprint(image) for image in part.images} for name, part in parts.items()}
    assert (
        not prints["train"] & prints["valid"]
        and not prints["train"] & prints["test"]
        and not prints["valid"] & prints["test"]
    )
    assert sum(len(part) for part in parts.values()) == 1797
    assert all(set(part.labels.tolist()) == set(range(10)) for part in parts.values())


def test_the_final_training_takes_the_remedies_that_are_proven_and_no_other(repo: Project) -> None:
    proven = yaml.safe_load((repo.root / "artifacts/compare/cures.yaml").read_text())
    verdicts = {arm["arm"]: arm["verdict"] for arm in repo.json("compare/ranking.json")["arms"]}
    assert {remedy: value > 0 for remedy, value in proven.items()} == {
        remedy: verdicts[f"+{remedy}"] == "helps" for remedy in ("augmented", "synthetic")
    }
    assert proven.items() <= repo.json("train/recipe.json").items()
    assert "the final training" in (repo.root / "artifacts/report/index.html").read_text()


def test_what_a_recipe_leaves_open_is_told_as_it_was_chosen(repo: Project) -> None:
    assert {"blend": 1.0, "enlarge": 1}.items() <= repo.json("train/recipe.json").items()


def test_every_augmented_image_has_its_parent_in_train(repo: Project) -> None:
    train, made = (
        samples.read(repo.root / "data/split/train"),
        samples.read(repo.root / "data/augmented"),
    )
    labels = dict(zip(train.column("id"), train.labels.tolist(), strict=True))
    assert [labels[parent] for parent in made.column("parent")] == made.labels.tolist()
    assert len(made) == len(train) and (made.images != train.images).any()


def test_the_exported_model_says_what_was_evaluated(repo: Project) -> None:
    test = samples.read(repo.root / "data/split/test")
    probabilities = onnx_model.load(repo.root / "artifacts/export/model.onnx").predict(test.images)
    predictions = pq.read_table(repo.root / "artifacts/evaluate/predictions.parquet")
    assert predictions["id"].to_pylist() == test.column("id")
    assert (probabilities.argmax(1) == predictions["predicted"].to_numpy()).mean() > 0.995
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert metrics.top1(probabilities, test.labels) == pytest.approx(
        repo.json("evaluate/metrics.json")["top1"], abs=0.005
    )
    assert str(repo.root) not in (repo.root / "artifacts/export/model.onnx").read_bytes().decode(
        "latin1"
    )


def test_first_model_is_judged_by_thresholds_and_says_so(repo: Project) -> None:
    decision = repo.json("gate/decision.json")
    assert decision["decision"] == "PROMOTE" and "no champion" in str(decision["reason"])


def test_the_report_has_every_chapter_and_needs_no_network(repo: Project) -> None:
    page = (repo.root / "artifacts/report/index.html").read_text()
    assert page.count("data:image/webp;base64,") > 10
    assert 'src="http' not in page and "<link" not in page
    assert "Not here yet" not in page


def test_forced_again_every_result_has_the_same_bytes(copy: Project) -> None:
    def results() -> dict[str, str]:
        locked = yaml.safe_load((copy.root / "dvc.lock").read_text())["stages"]
        return {
            out["path"]: out["md5"]
            for stage in locked.values()
            for out in stage["outs"]
            if "timing" not in out["path"]
        }

    before = results()
    shutil.rmtree(copy.root / ".imagetrail")
    stages = ["augment", "synthesise", "tune", "compare", "train", "export"]
    assert (
        ran(copy.dvc("repro", "--force", "--single-item", *stages, IMAGETRAIL_WORKERS="1"))
        == stages
    )
    assert results() == before


def test_a_changed_param_reruns_its_stages_only_and_changed_back_none(copy: Project) -> None:
    runs = len(said_of(copy.client()))
    copy.set(evaluate={"bootstrap": 120})
    assert ran(copy.dvc("repro")) == ["evaluate", "gate", "report"]
    copy.imagetrail("publish")
    assert len(said_of(copy.client())) == 2 * runs  # a second version, whole
    copy.set(evaluate={"bootstrap": 100})
    assert ran(copy.dvc("repro")) == ["gate"]  # it adds to its readings, so DVC repeats it
    assert "(0 new runs)" in copy.imagetrail("publish")
    (model,) = copy.client().search_model_versions(
        "name = 'digits'"
    )  # the same model in both versions
    assert copy.client().get_model_version_by_alias("digits", "challenger").version == model.version


def test_mlflow_has_one_pipeline_run_with_stages_and_their_parts(repo: Project) -> None:
    runs = said_of(repo.client())
    (pipeline,) = [name for parent, name, *_ in runs if not parent]
    assert {name for parent, name, *_ in runs if parent == pipeline} == set(STAGES)
    assert {status for _, _, status, *_ in runs} == {"FINISHED"}
    trials = [name for parent, name, *_ in runs if parent == "tune"]
    assert len(trials) == 4 and all(name.startswith("trial 00") for name in trials)
    arms = {name for parent, name, *_ in runs if parent == "compare"}
    names = ("real", "+augmented", "+synthetic", "all", "relu", "tanh")  # nothing is related
    assert arms == {f"{arm} · seed {seed}" for arm in names for seed in (0, 1, 2)}


def test_a_champion_is_compared_with_image_by_image_and_its_equal_is_held(copy: Project) -> None:
    (shipped,) = [row["file"] for row in copy.json("export/export.json") if row["chosen"]]
    champion = copy.root / "champion/model"
    champion.mkdir()
    shutil.copy(copy.root / "artifacts/export" / shipped, champion / "model.onnx")
    for file in ("export/trained_on.parquet", "evaluate/metrics.json"):
        shutil.copy(copy.root / "artifacts" / file, champion)
    assert ran(copy.dvc("repro")) == ["gate", "report"]
    decision = copy.json("gate/decision.json")
    assert (
        decision["decision"] == "HOLD"
        and decision["only_challenger_right"] == decision["only_champion_right"] == 0
    )


def test_publish_twice_makes_no_new_run(repo: Project) -> None:
    before = said_of(repo.client())
    assert "(0 new runs)" in repo.imagetrail("publish")
    assert said_of(repo.client()) == before


def test_publish_rebuilds_an_empty_store_from_files_alone(copy: Project) -> None:
    other = f"sqlite:///{copy.root / 'other.db'}"
    copy.imagetrail("publish", MLFLOW_TRACKING_URI=other)
    assert said_of(copy.client(other)) == said_of(copy.client())
    assert copy.client(other).get_model_version_by_alias("digits", "challenger").version == 1


def test_a_server_that_is_down_costs_a_warning_and_no_result(copy: Project) -> None:
    shutil.rmtree(copy.root / ".imagetrail")
    nowhere = "http://127.0.0.1:9"
    output = copy.dvc("repro", "--force", "--single-item", "train", MLFLOW_TRACKING_URI=nowhere)
    assert output.count("MLflow cannot be reached") == 1 and "Traceback" not in output
    assert "(0 new runs)" in copy.imagetrail("publish")  # the results are those that MLflow has
    down = copy.imagetrail("publish", ok=False, MLFLOW_TRACKING_URI=nowhere)
    assert "cannot be reached" in down and "Traceback" not in down


def test_every_epoch_of_training_is_in_mlflow(repo: Project) -> None:
    client = repo.client()
    (experiment,) = [found for found in client.search_experiments() if found.name == "digits"]
    (train, *_) = client.search_runs(
        [experiment.experiment_id], "tags.`imagetrail.stage` = 'train'"
    )
    steps = [metric.step for metric in client.get_metric_history(train.info.run_id, "valid_loss")]
    assert sorted(steps) == list(range(1, 9))
    assert (
        train.data.params["activation"] in ("relu", "silu")
        and train.data.params["batch_size"] == "64"
    )
    digests = {found.dataset.name: found.dataset.digest for found in train.inputs.dataset_inputs}
    locked = yaml.safe_load((repo.root / "dvc.lock").read_text())["stages"]["train"]["deps"]
    (md5,) = [dep["md5"] for dep in locked if dep["path"] == "data/split/train"]
    assert digests["data/split/train"] == md5.removesuffix(".dir")


def test_publish_refuses_files_that_dvc_lock_does_not_know(repo: Project) -> None:
    path = repo.root / "artifacts/tune/best.yaml"
    kept = path.read_text()
    path.write_text(kept + "\n")
    refusal = repo.imagetrail("publish", ok=False)
    assert "artifacts/tune/best.yaml is not what dvc.lock (stage tune) says" in refusal
    path.write_text(kept)
