"""What an exported file promises: the trained model's calibrated answers, from one file alone."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from imagetrail.base import samples
from imagetrail.base.errors import UserError
from imagetrail.base.files import write_json
from imagetrail.base.samples import Samples
from imagetrail.data.decoding import Target
from imagetrail.metrics import calibration, scores
from imagetrail.metrics.calibration import Calibration
from imagetrail.models import inference
from imagetrail.models.classifier import Classifier
from imagetrail.models.networks import MODELS, Spec
from imagetrail.models.weights import load, save
from imagetrail.serving import inputs, onnx_model, tried
from imagetrail.stages.export import onnx_export, stage
from imagetrail.stages.export.onnx_export import File
from imagetrail.stages.export.params import Budget, taught
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training

RECIPE = {
    "model": "fast",
    "activation": "relu",
    "width": 0.5,
    "epochs": 4,
    "batch_size": 16,
    "lr": 0.1,
}


def network(
    model: str = "article", *, size: int = 12, channels: int = 1, activation: str = "relu"
) -> Classifier:
    torch.manual_seed(0)
    mean, std = (100.0, 120.0, 90.0)[:channels], (50.0, 60.0, 70.0)[:channels]
    spec = Spec(model, activation, 1.0, 0.5, ("a", "b", "c"), size, channels, mean, std)
    made = Classifier(spec)
    made.train()(
        torch.from_numpy(pictures(32, size, channels))
    )  # batch normalisation gets statistics of its own
    return made.eval()


def pictures(count: int, size: int = 12, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, channels), np.uint8)


def logits(model: Classifier, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(images)).double().numpy()


def learned(
    train: Samples, valid: Samples, *, teacher: Classifier | None = None, **changes: Any
) -> Training:
    begun = loop.start(Recipe(**(RECIPE | changes)), train, seed=0)
    begun.teacher = teacher
    for _ in loop.fit(begun, Mixture(train), valid):
        pass
    return begun


# ---- the file ----


@pytest.mark.parametrize(("name", "channels"), [*((name, 1) for name in MODELS), ("fast", 3)])
def test_a_file_answers_as_the_trained_model_does_calibrated(
    tmp_path: Path, name: str, channels: int
) -> None:
    model, images = network(name, channels=channels), pictures(7, channels=channels)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    onnx_export.to_onnx(
        model,
        tmp_path / "model.onnx",
        calibration=Calibration(0.5, 0.2),
        facts={"licence": "MIT", "data": "d.dir"},
    )
    opened = onnx_model.load(tmp_path / "model.onnx")
    answers, features = opened.run(images)
    assert np.allclose(answers, Calibration(0.5, 0.2)(logits(model, images)), atol=1e-5)
    with torch.no_grad():
        expected = model.features(torch.from_numpy(images)).numpy()
    assert np.allclose(features, expected, atol=1e-3 + 1e-5 * np.abs(expected).max())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    facts = {
        "classes": '["a", "b", "c"]',
        "model": name,
        "producer": "imagetrail",
        "version": "0.1.0",
    }
    assert opened.metadata == facts | {
        "temperature": "0.5",
        "bend": "0.2",
        "licence": "MIT",
        "data": "d.dir",
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of 28×28 pictures as float32 and as int8."""
    folder, images = tmp_path_factory.mktemp("files"), pictures(100, 28)
    index = samples.make_index(ids=[""] * 100, labels=[0] * 100, origin="real", sources=[""] * 100)
    onnx_export.to_onnx(network("fast", size=28), folder / "model.onnx", facts={"data": "d"})
    onnx_export.quantise(
        folder / "model.onnx", Samples(images, index, ("a", "b", "c")), folder / "model.int8.onnx"
    )
    return folder


def test_few_pictures_that_are_enlarged_calibrate_int8_at_once(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def quantised(_: str, path: str, reader: Any, **__: Any) -> None:
        read.extend(len(some["images"]) for some in iter(reader.get_next, None))
        shutil.copy(files / "model.onnx", path)

    monkeypatch.setattr(onnx_export.quantization, "quantize_static", quantised)
    index = samples.make_index(ids=[""] * 60, labels=[0] * 60, origin="real", sources=[""] * 60)
    few = Samples(pictures(60, 28), index, ("a", "b", "c"))
    for factor in (1, 8):
        onnx_export.quantise(files / "model.onnx", few, tmp_path / "int8.onnx", enlarged=factor)
    assert read == [60, 27, 27, 6]


@pytest.mark.parametrize(
    ("name", "activation"), [("fast", "relu"), ("efficientnet_lite0", "relu6")]
)
def test_int8_spends_its_steps_on_what_an_activation_lets_through(
    tmp_path: Path, name: str, activation: str
) -> None:
    model, images = network(name, size=36, activation=activation), pictures(40, 36)
    for layers in model.trunk.modules():
        if isinstance(layers, torch.nn.Sequential):
            for norm, _ in pairwise(layers):
                if isinstance(norm, torch.nn.BatchNorm2d):
                    norm.bias.data[0] = -300  # a channel that is always cut off
    onnx_export.to_onnx(model, tmp_path / "model.onnx")
    index = samples.make_index(ids=[""] * 40, labels=[0] * 40, origin="real", sources=[""] * 40)
    few = Samples(images, index, model.spec.classes)
    onnx_export.quantise(tmp_path / "model.onnx", few, tmp_path / "int8.onnx")
    large, small = (
        onnx_model.load(tmp_path / name).run(images)[1] for name in ("model.onnx", "int8.onnx")
    )
    assert np.corrcoef(large.ravel(), small.ravel())[0, 1] > 0.99


def test_dense_layers_are_computed_in_int8(tmp_path: Path) -> None:
    onnx_export.to_onnx(network("article"), tmp_path / "model.onnx")
    index = samples.make_index(ids=[""] * 40, labels=[0] * 40, origin="real", sources=[""] * 40)
    few = Samples(pictures(40), index, ("a", "b", "c"))
    onnx_export.quantise(tmp_path / "model.onnx", few, tmp_path / "int8.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 3  # it warns that such a file is for this machine alone
    onnxruntime.InferenceSession(tmp_path / "int8.onnx", options)
    run = [node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node]
    assert "QGemm" in run and "QLinearConv" in run


def test_int8_is_static_per_channel_and_small_and_says_the_same_of_itself(files: Path) -> None:
    small, large = (files / name for name in ("model.int8.onnx", "model.onnx"))
    assert small.stat().st_size * 3.5 <= large.stat().st_size
    assert onnx_model.load(small).metadata == onnx_model.load(large).metadata
    graph = onnx.load(small).graph
    assert "DynamicQuantizeLinear" not in {node.op_type for node in graph.node}
    scales = {values.name: values for values in graph.initializer if values.name.endswith("_scale")}
    weights = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and "weight" in node.input[0]
    ]
    assert len(weights) >= 4 and all(scales[node.input[1]].dims[0] > 1 for node in weights)


def test_the_first_convolution_stays_in_float32(files: Path) -> None:
    graph = onnx.load(files / "model.int8.onnx").graph
    made_by = {name: node.op_type for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert [made_by.get(node.input[1]) for node in convolutions] == [
        None,
        *["DequantizeLinear"] * (len(convolutions) - 1),
    ]


def test_int8_answers_nearly_as_float32(files: Path) -> None:
    images = pictures(50, 28)
    small, large = (
        onnx_model.load(files / name).predict(images) for name in ("model.int8.onnx", "model.onnx")
    )
    assert 0 < np.abs(small - large).mean() < 0.03


def test_a_clean_process_with_onnxruntime_alone_gives_the_same_answers(files: Path) -> None:
    images = pictures(5, 28)
    alone = onnx_export.answers_alone(files / "model.onnx", images)
    assert np.allclose(alone, onnx_model.load(files / "model.onnx").predict(images), atol=1e-5)
    assert not {"imagetrail", "torch"} & set(onnx_export.ALONE.replace(",", " ").split())


def test_a_file_that_onnxruntime_cannot_use_alone_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"words")
    with pytest.raises(
        UserError, match=r"model.onnx cannot be used by onnxruntime alone: .*[Pp]rotobuf"
    ):
        onnx_export.answers_alone(tmp_path / "model.onnx", pictures(1))


# ---- the choice ----

FILES = [
    File("float32", 1_200_000, 0.1, 0.0),
    File("int8", 300_000, 0.2, 0.001),
    File("student", 90_000, 0.05, 0.03),
]


@pytest.mark.parametrize(
    ("bounds", "name"),
    [
        ({}, "student"),
        ({"max_loss": 0.002}, "int8"),
        ({"max_loss": 0.0005}, "float32"),
        ({"max_loss": 0.002, "max_ms": 0.15}, "float32"),
        ({"max_ms": 0.15}, "student"),
        ({"max_mb": 0.3}, "student"),
    ],
)
def test_the_smallest_file_within_the_budget_is_shipped(
    bounds: dict[str, float], name: str
) -> None:
    budget = Budget(**({"max_ms": None, "max_mb": None, "max_loss": None} | bounds))
    assert onnx_export.choose(FILES, budget).name == name


def test_a_budget_that_no_file_keeps_is_told_with_what_each_takes() -> None:
    with pytest.raises(
        UserError,
        match=r"no file is within it: float32 1.20 MB, 0.10 ms, loss 0.00 %; int8 0.30 MB",
    ):
        onnx_export.choose(FILES, Budget(max_ms=0.01, max_mb=None, max_loss=None))


# ---- the student ----


def test_a_student_sees_pictures_in_its_own_way() -> None:
    teacher = Recipe(model="efficientnet_lite0", enlarge=5, epochs=1, lr=0.1)
    assert taught(teacher, {"model": "fast"}, "here").enlarge is None
    assert taught(teacher, {"model": "fast", "enlarge": 2}, "here").enlarge == 2


def test_a_student_learns_from_its_teacher_and_not_from_labels(toy: Callable[..., Samples]) -> None:
    train, valid = toy("train"), toy("valid", seed=1)
    teacher = learned(train, valid).outcome
    wrong = Samples(
        train.images, train.index.set_column(1, "label", [1 - train.labels]), train.classes
    )
    taught = learned(wrong, valid, teacher=teacher, label_smoothing=0.0).outcome
    misled = learned(wrong, valid).outcome
    right = [
        scores.top1(inference.predict(model, valid).numpy(), valid.labels)
        for model in (taught, misled)
    ]
    assert right[0] > 0.9 and right[1] < 0.1


# ---- the stage ----


def params(root: Path, **changes: Any) -> None:
    budget = {"max_ms": 1000, "max_mb": None, "max_loss": None}
    values = {
        "tolerance": 0.001,
        "calibration": 32,
        "student": {"width": 0.25, "epochs": 2},
        "budget": budget,
    } | changes
    (root / "params.yaml").write_text(yaml.safe_dump({"seed": 0, "export": values}))


def prepare(root: Path, toy: Callable[..., Samples], *, epochs: int = 4) -> None:
    """A repository in which everything up to `train` has run."""
    train, valid, _ = (
        toy(f"data/split/{part}", seed=seed) for seed, part in enumerate(("train", "valid", "test"))
    )
    toy("data/split/related", seed=3, count=10)
    save(learned(train, valid, epochs=epochs).outcome, root / "artifacts/train")
    (root / "artifacts/train/recipe.json").write_text(json.dumps(RECIPE))
    noted = {"licence": "CC0-1.0, Ada", "fit": "pad", "frames": "refuse", "bits": None}
    write_json(root / "artifacts/inspect/report.json", noted)
    locked = {"split": {"outs": [{"path": "data/split/train", "md5": "abc.dir"}]}}
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": locked}))
    params(root)


def test_the_stage_ships_one_file_and_says_what_each_is_worth(
    tmp_path: Path,
    toy: Callable[..., Samples],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(tmp_path, toy)
    monkeypatch.chdir(tmp_path)
    timing = stage.run()
    output = capsys.readouterr().out
    assert output.count("<- shipped") == 1 and "depends on this machine's clock" in output
    out = tmp_path / "artifacts/export"
    rows = {row["format"]: row for row in json.loads((out / "export.json").read_text())}
    assert list(rows) == ["float32", "int8", "student"] and [
        row["chosen"] for row in rows.values()
    ] == [False, False, True]
    assert all(row["bytes"] == (out / row["file"]).stat().st_size for row in rows.values())
    assert rows["student"]["bytes"] < rows["int8"]["bytes"] < rows["float32"]["bytes"]
    assert rows["float32"]["top1_difference"] == 0 and rows["float32"]["top1"] > 0.9
    assert (
        rows["float32"]["parity"] < 1e-3
        and 0 < rows["int8"]["parity"] < 0.2
        and 0 < rows["student"]["parity"] < 0.2
    )
    for row in rows.values():
        assert row["top1_difference_low"] <= row["top1_difference"] <= row["top1_difference_high"]
        opened = onnx_model.load(out / row["file"])
        assert opened.metadata["data"] == "abc.dir"
        assert opened.metadata["licence"] == "CC0-1.0, Ada"
        # figures of the network are not those of one that it taught
        own = tried.known_by(tmp_path / "artifacts/train")[tried.WEIGHTS]
        taught = row["format"] == "student"
        assert opened.metadata.get(tried.WEIGHTS) == (None if taught else own)
        assert (
            inputs.target_of(opened) == Target((8, 8, 1), "pad") and "bits" not in opened.metadata
        )
    sizes = [
        f"batch{size}{more}"
        for size in (1, 256)
        for more in ("", "_p99", "_threads2", "_threads2_p99")
    ]
    assert set(timing) == {f"{kind}_ms_{size}" for kind in rows for size in sizes}
    assert len(json.loads((out / "student/history.json").read_text())) == 2

    reference = np.load(out / "reference.npz")
    train, valid = (samples.read(tmp_path / "data/split" / part) for part in ("train", "valid"))
    opened = onnx_model.load(out / "student/model.int8.onnx")
    assert (
        np.array_equal(reference["features"], opened.features(valid.images))
        and reference["counts"].sum() == 64
    )
    known = pq.read_table(out / "trained_on.parquet")
    assert (
        known["id"].to_pylist()[:64] == train.column("id")
        and known["id"].to_pylist()[-1] == "data/split/related9"
    )
    assert len(known) == len(set(known["fingerprint"].to_pylist())) == 64 + 64 + 10

    valid = samples.read(tmp_path / "data/split/valid")
    found = (
        inference.predict(load(tmp_path / "artifacts/train"), valid, exact=True).double().numpy()
    )
    expected = calibration.fit(found, valid.labels)
    opened = onnx_model.load(out / "model.onnx")
    assert (opened.metadata["temperature"], opened.metadata["bend"]) == (
        str(expected.temperature),
        str(expected.bend),
    )
    assert np.allclose(opened.predict(valid.images), expected(found), atol=1e-3)


def test_every_file_has_the_same_bytes_each_time_and_there_need_be_no_student(
    tmp_path: Path, toy: Callable[..., Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    def files() -> dict[str, bytes]:
        stage.run()
        return {
            path.name: path.read_bytes()
            for path in (tmp_path / "artifacts/export").rglob("*")
            if path.is_file()
        }

    prepare(tmp_path, toy)
    monkeypatch.chdir(tmp_path)
    params(tmp_path, student=None)
    before = files()
    assert files() == before
    assert json.loads(before["history.json"]) == []


def test_a_student_may_be_another_network_with_a_recipe_of_its_own(
    tmp_path: Path, toy: Callable[..., Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, toy)
    monkeypatch.chdir(tmp_path)
    other = {"model": "airbench", "activation": "gelu", "width": 0.25, "epochs": 1}
    params(tmp_path, student=other)
    stage.run()
    opened = onnx_model.load(tmp_path / "artifacts/export/student/model.onnx")
    assert opened.metadata["model"] == "airbench"


def test_a_file_that_differs_from_the_trained_model_is_refused(
    tmp_path: Path, toy: Callable[..., Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, toy, epochs=1)
    monkeypatch.chdir(tmp_path)
    params(tmp_path, tolerance=1e-12)
    with pytest.raises(UserError, match="differs from the trained model"):
        stage.run()
