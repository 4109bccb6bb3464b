"""The whole pipeline on scikit-learn's digits: real DVC, real MLflow on sqlite, no network."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_onnx
import yaml
from mlflow import MlflowClient  # noqa: TID251  tests look at what users see
from PIL import Image

from imagetrail.base import hashing, paths, samples
from imagetrail.base.errors import UserError
from imagetrail.base.samples import fingerprint
from imagetrail.cli.main import STAGES
from imagetrail.cli.params import check_all
from imagetrail.metrics import scores as metrics
from imagetrail.release import ledger
from imagetrail.serving import onnx_model

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SMALL = {
    "data": {"name": "digits", "image_size": 8},
    "augment": {"policy": [{"Affine": {"rotate": [-8, 8], "p": 1.0}}]},
    "synthesise": {"per_class": 20, "epochs": 2},
    "recipe": {"flip": False, "shift": 1, "batch_size": 64, "width": 0.5, "repeat_to": 2000},
    "train": {"epochs": 8},
    "tune": {
        "trials": 4,
        "batch": 2,
        "rungs": [1, 2],
        "images": 600,
        "space": {"activation": ["relu", "silu"], "augmented": [0.0, 0.3]},
    },
    "compare": {
        "seeds": 3,
        "remedies": {
            "epochs": 2,
            "images": 600,
            "tried": {"augmented": 0.3, "synthetic": 0.1, "pretrained": True},
        },
        "sets": {
            "activations": {
                "epochs": 2,
                "images": 600,
                "reference": "relu",
                "arms": {"relu": {"activation": "relu"}, "tanh": {"activation": "tanh"}},
            }
        },
    },
    "evaluate": {"bootstrap": 100, "corrupted": 100},
    "explain": {"per_class": 1},
    "export": {"calibration": 100},
    "gate": {"margin": 0.2, "max_ece": 0.2},  # 36 images a class cannot show less
}


class Repo:
    """A user's repository in a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, root / name)
        for folder in ("champion", "data/own", "data/weights", "src"):
            shutil.copytree(
                ROOT / folder,
                root / folder,
                ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
            )
        self.run("git", "init", "--quiet")
        self.run("dvc", "init", "--quiet")
        self.set(SMALL)

    def run(self, *command: str, ok: bool = True, **environment: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        env |= {"PATH": path, "DVC_NO_ANALYTICS": "1", **environment}
        done = subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def set(self, changes: dict[str, dict[str, object]]) -> None:
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, values in changes.items():
            params[section] |= values
        path.write_text(yaml.safe_dump(params))

    def json(self, path: str) -> Any:
        return json.loads((self.root / "artifacts" / path).read_text())

    def client(self, file: str = "mlflow.db") -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.root / file}")


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A repository in which `dvc repro` and `imagetrail publish` have run once."""
    made = Repo(tmp_path_factory.mktemp("repo"))
    made.run("dvc", "repro")
    made.run("imagetrail", "publish")
    return made


@pytest.fixture
def copy(repo: Repo, tmp_path: Path) -> Repo:
    """A copy of that repository, to be changed."""
    shutil.copytree(repo.root, tmp_path / "repo", symlinks=True)
    made = object.__new__(Repo)
    made.root = tmp_path / "repo"
    return made


def ran(output: str) -> list[str]:
    """The stages that an output of `dvc repro` says it ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def tree(client: MlflowClient) -> list[tuple[str, str, str, dict[str, float]]]:
    """Every run of an MLflow store as (its parent's name, its name, its status, its metrics), sorted."""
    runs = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()], max_results=1000
    )
    names = {run.info.run_id: run.info.run_name for run in runs}
    rows = []
    for run in runs:
        parent = names.get(run.data.tags.get("mlflow.parentRunId", ""), "")
        metrics = {
            name: value
            for name, value in run.data.metrics.items()
            if not name.startswith("system/")
        }  # live only
        rows.append((parent, run.info.run_name, run.info.status, metrics))
    return sorted(rows, key=lambda row: row[:3])


def test_every_stage_leaves_what_it_promises(repo: Repo) -> None:
    locked = yaml.safe_load((repo.root / "dvc.lock").read_text())["stages"]
    assert list(locked) == list(STAGES)
    missing = [
        out["path"]
        for stage in locked.values()
        for out in stage["outs"]
        if not (repo.root / out["path"]).exists()
    ]
    assert not missing


def test_the_model_has_learned(repo: Repo) -> None:
    found = repo.json("evaluate/metrics.json")
    assert found["top1"] > 0.85
    assert found["top1_low"] < found["top1"] < found["top1_high"]


def test_a_second_repro_runs_nothing(repo: Repo) -> None:
    assert ran(repo.run("dvc", "repro")) == []


def test_no_picture_is_on_two_sides(repo: Repo) -> None:
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


def test_the_final_training_takes_the_remedies_that_are_proven_and_no_other(repo: Repo) -> None:
    proven = yaml.safe_load((repo.root / "artifacts/compare/cures.yaml").read_text())
    verdicts = {arm["arm"]: arm["verdict"] for arm in repo.json("compare/ranking.json")["arms"]}
    assert {remedy: value > 0 for remedy, value in proven.items()} == {
        remedy: verdicts[f"+{remedy}"] == "helps" for remedy in ("augmented", "synthetic")
    }
    assert proven.items() <= repo.json("train/recipe.json").items()
    assert "the final training" in (repo.root / "artifacts/report/index.html").read_text()


def test_every_augmented_image_has_its_parent_in_train(repo: Repo) -> None:
    train, made = (
        samples.read(repo.root / "data/split/train"),
        samples.read(repo.root / "data/augmented"),
    )
    labels = dict(zip(train.column("id"), train.labels.tolist(), strict=True))
    assert [labels[parent] for parent in made.column("parent")] == made.labels.tolist()
    assert len(made) == len(train) and (made.images != train.images).any()


def test_the_exported_model_says_what_was_evaluated(repo: Repo) -> None:
    test = samples.read(repo.root / "data/split/test")
    probabilities = onnx_model.load(repo.root / "artifacts/export/model.onnx").predict(test.images)
    told = pq.read_table(repo.root / "artifacts/evaluate/predictions.parquet")
    assert told["id"].to_pylist() == test.column("id")
    assert (probabilities.argmax(1) == told["predicted"].to_numpy()).mean() > 0.995
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert metrics.top1(probabilities, test.labels) == pytest.approx(
        repo.json("evaluate/metrics.json")["top1"], abs=0.005
    )
    assert str(repo.root) not in (repo.root / "artifacts/export/model.onnx").read_bytes().decode(
        "latin1"
    )


def test_first_model_is_judged_by_thresholds_and_says_so(repo: Repo) -> None:
    decision = repo.json("gate/decision.json")
    assert decision["decision"] == "PROMOTE" and "no champion" in str(decision["reason"])


def test_report_needs_no_other_file(repo: Repo) -> None:
    page = (repo.root / "artifacts/report/index.html").read_text()
    assert (
        page.count("data:image/png;base64,") > 10
        and 'src="http' not in page
        and "<link" not in page
    )


def test_forced_again_every_result_has_the_same_bytes(copy: Repo) -> None:
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
        ran(copy.run("dvc", "repro", "--force", "--single-item", *stages, IMAGETRAIL_WORKERS="1"))
        == stages
    )
    assert results() == before


def test_a_changed_param_reruns_its_stages_only_and_changed_back_none(copy: Repo) -> None:
    runs = len(tree(copy.client()))
    copy.set({"evaluate": {"bootstrap": 120}})
    assert ran(copy.run("dvc", "repro")) == ["evaluate", "gate", "report"]
    copy.run("imagetrail", "publish")
    assert len(tree(copy.client())) == 2 * runs  # a second version, whole
    copy.set({"evaluate": {"bootstrap": 100}})
    assert ran(copy.run("dvc", "repro")) == []
    assert "(0 new runs)" in copy.run("imagetrail", "publish")
    (model,) = copy.client().search_model_versions(
        "name = 'digits'"
    )  # the same model in both versions
    assert copy.client().get_model_version_by_alias("digits", "challenger").version == model.version


def test_mlflow_has_one_pipeline_run_with_stages_and_their_parts(repo: Repo) -> None:
    runs = tree(repo.client())
    (pipeline,) = [name for parent, name, *_ in runs if not parent]
    assert {name for parent, name, *_ in runs if parent == pipeline} == set(STAGES)
    assert {status for *_, status, _ in runs} == {"FINISHED"}
    trials = [name for parent, name, *_ in runs if parent == "tune"]
    assert len(trials) == 4 and all(name.startswith("trial 00") for name in trials)
    arms = {name for parent, name, *_ in runs if parent == "compare"}
    names = ("real", "+augmented", "+synthetic", "all", "relu", "tanh")  # nothing is related
    assert arms == {f"{arm} · seed {seed}" for arm in names for seed in (0, 1, 2)}


def test_a_champion_is_compared_with_image_by_image_and_its_equal_is_held(copy: Repo) -> None:
    (shipped,) = [row["file"] for row in copy.json("export/export.json") if row["chosen"]]
    champion = copy.root / "champion/model"
    champion.mkdir()
    shutil.copy(copy.root / "artifacts/export" / shipped, champion / "model.onnx")
    for file in ("export/trained_on.parquet", "evaluate/metrics.json"):
        shutil.copy(copy.root / "artifacts" / file, champion)
    assert ran(copy.run("dvc", "repro")) == ["gate", "report"]
    decision = copy.json("gate/decision.json")
    assert (
        decision["decision"] == "HOLD"
        and decision["only_challenger_right"] == decision["only_champion_right"] == 0
    )


def test_every_command_that_the_readme_shows_for_a_model_runs(copy: Repo) -> None:
    """`imagetrail verify --reproduce` runs in test_verification, `make retrain` in test_retraining."""
    poor = tiny_onnx.write(
        copy.root / paths.CHAMPION_MODEL, tiny_onnx.noise([str(digit) for digit in range(10)])
    )
    shutil.copy(copy.root / "artifacts/evaluate/metrics.json", poor.parent)
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), poor.parent / "trained_on.parquet")
    said, features = onnx_model.load(poor).run(samples.read(copy.root / "data/split/valid").images)
    np.savez(
        poor.parent / "reference.npz",
        features=features,
        counts=np.bincount(said.argmax(1), minlength=10),
    )
    copy.run("dvc", "add", "--quiet", str(paths.CHAMPION_FOLDER))
    facts = {"model": hashing.sha256(poor), "data": "", "decision": "", "reason": "to begin with"}
    ledger.append(copy.root, action="promote", champion=ledger.tracked(copy.root), **facts)
    copy.run("dvc", "repro", "--quiet")

    images = samples.read(copy.root / "data/split/test").images
    for name, some in (("pictures", images[:5]), ("new-pictures", images[:200])):
        (copy.root / name).mkdir()
        for number, image in enumerate(some):
            Image.fromarray(image.squeeze()).save(copy.root / name / f"{number}.png")
    shutil.copy(copy.root / "pictures/0.png", copy.root / "shoe.jpg")
    shown = README.split("## Using the model")[1].split("## The tree")[0]
    commands = [
        line
        for line in shown.splitlines()
        if line.startswith("imagetrail ") and "--reproduce" not in line
    ]
    told = [copy.run("sh", "-c", command) for command in commands]
    assert [command.split()[1] for command in commands] == [
        *["predict"] * 3,
        "drift",
        "promote",
        "rollback",
        "verify",
    ]
    assert (
        told[0].count("pictures/") == 5
        and '"file": "-"' in told[1]
        and len(list((copy.root / "why").iterdir())) == 1
    )
    assert (
        "no drift" in told[3]
        and "number 2 of the ledger" in told[4]
        and "number 3 of the ledger" in told[5]
    )
    assert (
        hashing.sha256(copy.root / paths.CHAMPION_MODEL)
        == ledger.read(copy.root)[0].model
        == ledger.read(copy.root)[2].model
    )


def test_publish_twice_makes_no_new_run(repo: Repo) -> None:
    before = tree(repo.client())
    assert "(0 new runs)" in repo.run("imagetrail", "publish")
    assert tree(repo.client()) == before


def test_publish_rebuilds_an_empty_store_from_files_alone(copy: Repo) -> None:
    copy.run("imagetrail", "publish", MLFLOW_TRACKING_URI=f"sqlite:///{copy.root / 'other.db'}")
    assert tree(copy.client("other.db")) == tree(copy.client())
    assert copy.client("other.db").get_model_version_by_alias("digits", "challenger").version == 1


def test_a_server_that_is_down_costs_a_warning_and_no_result(copy: Repo) -> None:
    shutil.rmtree(copy.root / ".imagetrail")
    said = copy.run(
        "dvc",
        "repro",
        "--force",
        "--single-item",
        "train",
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
    )
    assert said.count("MLflow cannot be reached") == 1 and "Traceback" not in said
    assert "(0 new runs)" in copy.run(
        "imagetrail", "publish"
    )  # the results are those that MLflow has
    down = copy.run("imagetrail", "publish", ok=False, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "cannot be reached" in down and "Traceback" not in down


def test_every_epoch_of_training_is_in_mlflow(repo: Repo) -> None:
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


def test_publish_refuses_files_that_dvc_lock_does_not_know(repo: Repo) -> None:
    path = repo.root / "artifacts/tune/best.yaml"
    kept = path.read_text()
    path.write_text(kept + "\n")
    assert "artifacts/tune/best.yaml is not what dvc.lock (stage tune) says" in repo.run(
        "imagetrail", "publish", ok=False
    )
    path.write_text(kept)


def test_a_wrong_param_is_one_line_for_each_and_no_traceback(tmp_path: Path) -> None:
    made = Repo(tmp_path)
    made.set({"data": {"name": "cifar"}, "gate": {"alpha": 2}})
    said = made.run("imagetrail", "params", ok=False).splitlines()
    assert len(said) == 2 and said[0].startswith(
        "error: params.yaml: data.name: unknown data set 'cifar'"
    )
    assert said[1].startswith("error: params.yaml: gate.alpha: input should be less than")


REMEDIES = {"epochs": 1, "images": None}


def contest(reference: str, name: str = "x", **arms: dict[str, Any]) -> dict[str, Any]:
    """A change of params: one set of arms to compare."""
    return {
        "compare": {
            "sets": {name: {"epochs": 1, "images": None, "reference": reference, "arms": arms}}
        }
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"recipe": {"activation": "rleu"}},
            ["recipe.activation: unknown activation 'rleu'; did you mean 'relu'?"],
        ),
        ({"recipe": {"epochs": 3}}, ["recipe.epochs", "train.epochs"]),
        (
            {"split": {"vaild": 0.1}},
            ["split.vaild: unknown key; did you mean 'valid'? choose from per_class, test, valid"],
        ),
        (
            contest("gelu", relu={}, tanh={}),
            ["compare.sets.x: reference must be one of the arms relu, tanh, got 'gelu'"],
        ),
        (
            contest("a", a={}, b={"synthetic": 0.1}) | {"synthesise": {"per_class": 0}},
            ["arm b", "synthesise.per_class"],
        ),
        (
            contest("a", a={}, b={"augmented": 0.6, "synthetic": 0.6}),
            ["set x, arm b", "is 1.2; at most 1"],
        ),
        (contest("a", a={}, b={}, name=" "), ["compare.sets", "an arm needs a name, got ' '"]),
        (contest("a", a={}, b={}, name="remedies"), ["compare.remedies makes"]),
        (
            {"compare": {"remedies": REMEDIES | {"tried": {"augmentd": 0.1}}}},
            ["compare.remedies.tried", "no field augmentd"],
        ),
        (
            {"compare": {"remedies": REMEDIES | {"tried": {"flip": False}}}},
            ["compare.remedies.tried.flip"],
        ),
        ({"tune": {"rungs": [3, 1]}}, ["rungs must be rising"]),
        ({"tune": {"space": {"widht": [1.0]}}}, ["tune.space.widht", "width"]),
        ({"tune": {"space": {"augmented": [0, 1.4]}}}, ["tune.space.augmented"]),
        (
            contest("relu", relu={}, s={"activation": "sigmoide"}),
            ["compare.sets.x.arms.s", "did you mean 'sigmoid'?"],
        ),
        ({"pretrain": {"related": ["mnits"]}}, ["did you mean 'mnist'?"]),
        (
            {"evaluate": {"unknown": "mnits"}},
            ["evaluate.unknown: unknown data set 'mnits'; did you mean 'mnist'?"],
        ),
        (
            {"evaluate": {"unknown": "fashion-mnist"}},
            ["evaluate.unknown", "a published data set other than"],
        ),
        ({"evaluate": {"corrupted": 0}}, ["evaluate.corrupted"]),
        ({"data": {"name": "folder", "path": "/nowhere"}}, ["data.path: /nowhere does not exist"]),
        (
            {"augment": {"policy": [{"HorizontalFlop": {}}]}},
            ["unknown transform", "did you mean 'HorizontalFlip'?"],
        ),
        ({"augment": {"policy": [{"HorizontalFlip": {"prob": 1}}]}}, ["HorizontalFlip", "prob"]),
        (
            {"augment": {"policy": [{"ChannelDropout": {}}]}},
            ["augment.policy", "ChannelDropout needs 3 channels"],
        ),
    ],
)
def test_a_wrong_param_is_told_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in changes.items():
        params[section] |= values
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(UserError) as caught:
        check_all(tmp_path / "params.yaml")
    assert all(word in str(caught.value) for word in words)
