"""An ONNX file that is opened is ours, and answers for any number of pictures."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_onnx
from onnx import TensorProto, helper, numpy_helper

from imagetrail.base.errors import UserError
from imagetrail.serving import onnx_model


def pictures(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *(shape or (8, 8, 1))), np.uint8)


def test_a_file_of_ours_says_what_it_is_and_answers(tmp_path: Path) -> None:
    path = tiny_onnx.write(tmp_path / "model.onnx", tiny_onnx.noise(licence="MIT"))
    model = onnx_model.load(path)
    assert (
        model.classes == ("left", "right")
        and model.shape == (8, 8, 1)
        and model.metadata["licence"] == "MIT"
    )
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    probabilities, features = model.run(pictures(5))
    assert (
        probabilities.shape == (5, 2)
        and probabilities.dtype == np.float64
        and np.allclose(probabilities.sum(1), 1)
    )
    assert (
        features.shape == (5, 16)
        and features.dtype == np.float32
        and (features >= 0).all()
        and features.any()
    )


@pytest.mark.parametrize("count", [0, 1, 7])
def test_batches_of_any_size_give_the_same_answers_in_order(tmp_path: Path, count: int) -> None:
    path = tiny_onnx.write(tmp_path / "model.onnx", tiny_onnx.noise())
    images = pictures(count)
    alone, many = onnx_model.load(path, threads=1), onnx_model.load(path, threads=3)
    whole = alone.predict(images)
    assert whole.shape == (count, 2) and np.allclose(
        whole, [alone.predict(images[i : i + 1])[0] for i in range(count)] or whole
    )
    for model in (alone, many):
        assert np.allclose(model.predict(images, batch_size=3), whole)
        assert np.allclose(model.features(images, batch_size=3), alone.features(images), atol=1e-4)


@pytest.mark.parametrize(
    "images", [pictures(1, 9, 8, 1), pictures(1, 8, 8, 3), pictures(1).astype(np.float32)]
)
def test_pictures_of_another_size_colour_or_type_are_refused(
    tmp_path: Path, images: np.ndarray
) -> None:
    model = onnx_model.load(tiny_onnx.write(tmp_path / "model.onnx", tiny_onnx.noise()))
    with pytest.raises(UserError, match="the model takes pictures 8×8×1 of uint8, not"):
        model.predict(images)


def test_the_number_of_threads_changes_no_bit(tmp_path: Path) -> None:
    path = tiny_onnx.write(tmp_path / "model.onnx", tiny_onnx.noise())
    images = pictures(1000)
    assert np.array_equal(
        onnx_model.load(path, threads=1).predict(images),
        onnx_model.load(path, threads=4).predict(images),
    )


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    made = tiny_onnx.noise()
    made.graph.initializer[3].CopyFrom(
        numpy_helper.from_array(np.full((16, 2), np.nan, np.float32), "w2")
    )
    with pytest.raises(UserError, match="its answers are no numbers"):
        onnx_model.load(tiny_onnx.write(tmp_path / "model.onnx", made)).predict(pictures(3))


# ---- files that are not ours, or hostile ----


def external(made: onnx.ModelProto) -> None:
    weights = made.graph.initializer[1]
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    weights.ClearField("raw_data")


def external_in_a_node(made: onnx.ModelProto) -> None:
    constant = helper.make_node(
        "Constant", [], ["w"], value=numpy_helper.from_array(np.zeros(3, np.float32), "w")
    )
    external_data = constant.attribute[0].t.external_data.add()
    external_data.key, external_data.value = "location", "/etc/passwd"
    made.graph.node.append(constant)


def external_and_sparse(made: onnx.ModelProto) -> None:
    made.graph.sparse_initializer.add().values.name = "w1"


def huge_value(made: onnx.ModelProto) -> None:
    """300 bytes that ask for 40 TB when the session is made."""
    made.graph.initializer.append(numpy_helper.from_array(np.array([10**13]), "size"))
    made.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["huge"]))


def huge_product(made: onnx.ModelProto) -> None:
    made.graph.initializer.append(
        numpy_helper.from_array(np.zeros((100_000, 1), np.float32), "tall")
    )
    made.graph.initializer.append(
        numpy_helper.from_array(np.zeros((1, 100_000), np.float32), "wide")
    )
    made.graph.node.append(helper.make_node("MatMul", ["tall", "wide"], ["huge"]))


def size_from_the_picture(made: onnx.ModelProto) -> None:
    made.graph.node.append(helper.make_node("Cast", ["images"], ["many"], to=TensorProto.INT64))
    made.graph.initializer.append(numpy_helper.from_array(np.array([-1]), "line"))
    made.graph.node.append(helper.make_node("Reshape", ["many", "line"], ["lengths"]))
    made.graph.node.append(helper.make_node("ConstantOfShape", ["lengths"], ["huge"]))


def wrong_size_told(made: onnx.ModelProto) -> None:
    """As `huge_value`, and the file claims that it is small."""
    huge_value(made)
    made.graph.value_info.append(helper.make_tensor_value_info("huge", TensorProto.FLOAT, [1]))


def list_of_values(made: onnx.ModelProto) -> None:
    made.graph.node.append(helper.make_node("SequenceConstruct", ["logits"], ["list"]))


def loop(made: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    made.graph.node.append(helper.make_node("Loop", ["", ""], [], body=body))


def function(made: onnx.ModelProto) -> None:
    made.functions.add().name = "f"


def foreign_operation(made: onnx.ModelProto) -> None:
    made.opset_import.add().domain = "evil"
    made.graph.node.append(helper.make_node("Run", ["images"], ["x"], domain="evil"))


def many_nodes(made: onnx.ModelProto) -> None:
    made.graph.node.extend([made.graph.node[3]] * 10_000)


def other_producer(made: onnx.ModelProto) -> None:
    helper.set_model_props(made, {"producer": "pytorch"})


def float_input(made: onnx.ModelProto) -> None:
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def open_size(made: onnx.ModelProto) -> None:
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "H"


def huge_pictures(made: onnx.ModelProto) -> None:
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 10**6


def no_features(made: onnx.ModelProto) -> None:
    del made.graph.output[1]


def other_rank(made: onnx.ModelProto) -> None:
    made.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1


def too_few_names(made: onnx.ModelProto) -> None:
    made.metadata_props[0].value = '["left"]'


def names_that_are_no_list(made: onnx.ModelProto) -> None:
    made.metadata_props[0].value = "left, right"


def layers_that_do_not_fit(made: onnx.ModelProto) -> None:
    made.graph.initializer[1].dims[:] = [16, 64]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external, "other files are not opened"),
        (external_in_a_node, "other files are not opened"),
        (external_and_sparse, "other files are not opened"),
        (huge_value, "huge alone would take 10,000,000,000,000 values"),
        (huge_product, "huge alone would take 10,000,000,000 values"),
        (size_from_the_picture, "size of huge is not known"),
        (wrong_size_told, "huge alone would take"),
        (list_of_values, "size of list is not known"),
        (loop, "functions or graphs within"),
        (function, "functions or graphs within"),
        (foreign_operation, "do not fit together|not known"),
        (many_nodes, "10,006 operations"),
        (other_producer, "`imagetrail export` did not write it"),
        (float_input, "one input, images"),
        (open_size, "fixed size"),
        (huge_pictures, "fixed size"),
        (no_features, "outputs must be probabilities and features"),
        (other_rank, "outputs must be"),
        (too_few_names, "names 1 classes, and it answers for 2"),
        (names_that_are_no_list, "no list of classes"),
        (layers_that_do_not_fit, "do not fit together"),
    ],
)
def test_a_hostile_or_foreign_file_is_refused_in_a_line(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], words: str
) -> None:
    made = tiny_onnx.noise()
    change(made)
    path = tiny_onnx.write(tmp_path / "model.onnx", made)
    with pytest.raises(UserError, match=words) as caught:
        onnx_model.load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "`imagetrail export` did not write it"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not an ONNX file"),
        (b"just words", "is not an ONNX file"),
        (tiny_onnx.noise().SerializeToString()[:-40], "is not an ONNX file, or a damaged one"),
    ],
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(UserError, match=words):
        onnx_model.load(tmp_path / "model.onnx")


def test_a_file_cut_or_flipped_anywhere_is_refused_or_answers_as_a_model_would(
    tmp_path: Path,
) -> None:
    """Only `imagetrail verify` sees a flipped byte in a weight, and it is no traceback."""
    whole, rng = tiny_onnx.noise().SerializeToString(), np.random.default_rng(0)
    path, refused = tmp_path / "model.onnx", 0
    names = [
        *range(600),
        *range(len(whole) - 900, len(whole)),
    ]  # not the weights, of which most bytes are
    for trial in range(200):
        content = bytearray(whole)
        if trial % 2:
            content[rng.choice(names)] = rng.integers(256)
        else:
            del content[rng.integers(len(whole)) :]
        path.write_bytes(content)
        try:
            probabilities = onnx_model.load(path).predict(pictures(2))
            assert probabilities.shape == (2, 2)
        except UserError:
            refused += 1
    assert refused >= 100


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    os.truncate(path, 1 << 40)  # a terabyte of nothing: it takes no space
    with pytest.raises(
        UserError, match=r"1,099,511,627,776 bytes; a model of at most 1,073,741,824"
    ):
        onnx_model.load(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is missing; run `dvc repro`"):
        onnx_model.load(tmp_path / "model.onnx")
    with pytest.raises(UserError, match="is a folder"):
        onnx_model.load(tmp_path)
