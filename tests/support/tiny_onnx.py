"""ONNX files as `imagetrail export` writes them, of one hidden layer, made in a millisecond."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]  # weights into×out, biases


def proto(
    hidden: Layer, last: Layer, *, classes: Sequence[str], side: int = 8, **metadata: str
) -> onnx.ModelProto:
    constants = {
        "flat": np.array([-1, side * side]),
        "w1": hidden[0],
        "b1": hidden[1],
        "w2": last[0],
        "b2": last[1],
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["float", "flat"], ["pixels"]),
        helper.make_node("Gemm", ["pixels", "w1", "b1"], ["summed"]),
        helper.make_node("Relu", ["summed"], ["features"]),
        helper.make_node("Gemm", ["features", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", side, side, 1])],
        [
            helper.make_tensor_value_info(
                "probabilities", TensorProto.FLOAT, ["N", last[0].shape[1]]
            ),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", hidden[0].shape[1]]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(
        made,
        {"classes": json.dumps(list(classes)), "producer": "imagetrail", "data": "d"} | metadata,
    )
    return made


def noise(
    classes: Sequence[str] = ("left", "right"), *, side: int = 8, seed: int = 0, **metadata: str
) -> onnx.ModelProto:
    """A network of random weights."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(side * side, 16)).astype(np.float32) / 1000, np.zeros(16, np.float32)
    last = (
        rng.normal(size=(16, len(classes))).astype(np.float32),
        np.zeros(len(classes), np.float32),
    )
    return proto(hidden, last, classes=classes, side=side, **metadata)


def write(path: Path, made: onnx.ModelProto) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.SerializeToString())
    return path
