"""An exported model in use, by onnxruntime alone: the one place where ONNX files are opened."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from imagetrail.base.errors import UserError, damaged, missing
from imagetrail.base.files import refuse_endless
from imagetrail.base.samples import Images

INPUT, OUTPUTS = "images", ("probabilities", "features")
PRODUCER = "imagetrail"
MAX_BYTES = 1 << 30
MAX_NODES = 10_000
MAX_SIDE = 4096  # pixels
MAX_VALUES = 1 << 26  # of any array in one picture's way through the network
REFUSED = (
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.NotImplemented,
    runtime.RuntimeException,
    ValueError,  # for text that is not UTF-8
)


@dataclass(frozen=True)
class Model:
    """An opened ONNX file."""

    session: onnxruntime.InferenceSession
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # H, W, C of its pictures
    metadata: dict[str, str]
    sha256: str  # of the file
    threads: int  # batches that are answered at a time

    def run(
        self, images: Images, *, batch_size: int = 64
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Probabilities n×K, and features n×D: what the last layer sees. Images n×H×W×C uint8.

        Batches of 64 stay in the processor's cache: for small pictures up to twice as fast as 256.
        """
        probabilities, features = self._answers(images, OUTPUTS, batch_size)
        return probabilities.astype(np.float64), features

    def predict(self, images: Images, *, batch_size: int = 64) -> NDArray[np.float64]:
        """Probabilities n×K."""
        return self._answers(images, OUTPUTS[:1], batch_size)[0].astype(np.float64)

    def features(self, images: Images, *, batch_size: int = 64) -> NDArray[np.float32]:
        """What the last layer sees, n×D."""
        return self.run(images, batch_size=batch_size)[1]

    def _answers(
        self, images: Images, outputs: Sequence[str], batch_size: int
    ) -> list[NDArray[np.float32]]:
        if images.shape[1:] != self.shape or images.dtype != np.uint8:
            raise UserError(
                f"the model takes pictures {_by(self.shape)} of uint8, "
                f"not {_by(images.shape[1:])} of {images.dtype}"
            )

        def batch(start: int) -> list[NDArray[np.float32]]:
            few = np.ascontiguousarray(images[start : start + batch_size])
            answers: list[NDArray[np.float32]] = self.session.run(outputs, {INPUT: few})
            return answers

        # Without pictures there is one batch still: its answers are empty and of the right shape.
        starts = range(0, max(1, len(images)), batch_size)
        try:
            if len(starts) == 1 or self.threads == 1:
                parts = [batch(start) for start in starts]
            else:  # no thread waits for another, as it would if they shared each batch
                with ThreadPoolExecutor(self.threads) as pool:
                    parts = list(pool.map(batch, starts))
        except REFUSED as error:
            raise UserError(
                f"the model is damaged, it cannot answer: {str(error).splitlines()[0]}"
            ) from None
        whole = [np.concatenate(some) for some in zip(*parts, strict=True)]
        if not np.isfinite(whole[0]).all():
            raise UserError("the model is damaged: its answers are no numbers")
        return whole


def load(path: Path, *, threads: int = 0, threads_a_batch: int = 1) -> Model:
    """Opens a file that `imagetrail export` wrote, on the CPU.

    threads: batches that are answered at a time; 0: one a core. threads_a_batch: how many work on
    the same one.

    Raises UserError, before anything in it runs, for a file that is missing, damaged, not ours,
    names other files, or asks for more memory than a picture's way through a network can need.
    """
    content = _read(path)
    proto, metadata = _checked(path, content)
    _, height, width, channels = _described(proto.graph.input[0])[2]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads_a_batch
    options.log_severity_level = 4  # the exception has what goes wrong
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except REFUSED as error:
        raise damaged(path, f"onnxruntime cannot open it: {error}") from None
    return Model(
        session,
        tuple(json.loads(metadata["classes"])),
        (height, width, channels),
        metadata,
        hashlib.sha256(content).hexdigest(),
        threads or os.cpu_count() or 1,
    )


def _checked(path: Path, content: bytes) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model and its metadata; raises UserError if it is not one of ours."""
    try:
        proto = onnx.load_model_from_string(content)
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        fault = next(_faults(proto, metadata), None)
    except (DecodeError, ValueError):  # ValueError: text that is not UTF-8, an unknown element type
        raise UserError(f"{path} is not an ONNX file, or a damaged one") from None
    if fault:
        raise UserError(f"{path} is refused: {fault}")
    return proto, metadata


def _read(path: Path) -> bytes:
    refuse_endless(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(
                f"{path} has {size:,} bytes; a model of at most {MAX_BYTES:,} is opened"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise missing(path) from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not an ONNX file") from None


def _faults(proto: onnx.ModelProto, metadata: dict[str, str]) -> Iterator[str]:
    """What is wrong with a model that claims to be ours, from the cheapest look to the dearest."""
    if metadata.get("producer") != PRODUCER:
        yield f"`imagetrail export` did not write it: its producer is not {PRODUCER}"
    nodes = proto.graph.node
    if len(nodes) > MAX_NODES:
        yield f"it has {len(nodes):,} operations, more than {MAX_NODES:,}"
    attributes = [attribute for node in nodes for attribute in node.attribute]
    if proto.functions or any(one.HasField("g") or one.graphs for one in attributes):
        yield "it has functions or graphs within its graph, which no export writes"
    if any(one.HasField("sparse_tensor") or one.sparse_tensors for one in attributes):
        yield "it has sparse values, which no export writes"
    tensors = list(proto.graph.initializer)
    for one in attributes:
        tensors += [one.t, *one.tensors]
    outside = onnx.TensorProto.EXTERNAL
    if proto.graph.sparse_initializer or any(
        tensor.external_data or tensor.data_location == outside for tensor in tensors
    ):
        yield "its weights are not all inside it, and other files are not opened"
    yield from _interface_faults(proto, metadata)
    yield from _memory_faults(proto)


def _interface_faults(proto: onnx.ModelProto, metadata: dict[str, str]) -> Iterator[str]:
    uint8, float32 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    inputs = [_described(value) for value in proto.graph.input]
    outputs = [_described(value) for value in proto.graph.output]
    if [(name, kind, len(dims)) for name, kind, dims in inputs] != [(INPUT, uint8, 4)]:
        yield f"it must have one input, {INPUT}, N×H×W×C of uint8"
    elif not _within(inputs[0][2][1:], (MAX_SIDE, MAX_SIDE, 4)):
        yield f"its pictures must have a fixed size, of at most {MAX_SIDE}×{MAX_SIDE} pixels"
    if [(name, kind, len(dims)) for name, kind, dims in outputs] != [
        (name, float32, 2) for name in OUTPUTS
    ]:
        yield f"its outputs must be {' and '.join(OUTPUTS)}, each a row of float32 for a picture"
    try:
        classes = json.loads(metadata.get("classes", ""))
    except json.JSONDecodeError:
        classes = None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        yield "its metadata has no list of classes"
    elif len(classes) != outputs[0][2][1]:
        yield f"its metadata names {len(classes)} classes, and it answers for {outputs[0][2][1]}"


def _within(sizes: Sequence[int], limits: Sequence[int]) -> bool:
    return all(0 < size <= limit for size, limit in zip(sizes, limits, strict=True))


def _described(value: onnx.ValueInfoProto) -> tuple[str, int, list[int]]:
    """Name, type of element, and length in each dimension, 0 where it is open."""
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, [dim.dim_value for dim in tensor.shape.dim]


def _memory_faults(proto: onnx.ModelProto) -> Iterator[str]:
    """Arrays whose size for one picture is huge, or not known before the model runs."""
    single = onnx.ModelProto()
    single.CopyFrom(proto)
    del single.graph.value_info[:]  # what the file claims is not believed
    for value in (*single.graph.input, *single.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    try:
        inferred = onnx.shape_inference.infer_shapes(
            single, check_type=True, strict_mode=True, data_prop=True
        )
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        yield f"its operations do not fit together ({str(error).splitlines()[0]})"
        return
    values = (_described(value) for value in (*inferred.graph.value_info, *inferred.graph.output))
    shapes = {name: dims for name, kind, dims in values if kind != onnx.TensorProto.UNDEFINED}
    for name in (name for node in proto.graph.node for name in node.output if name):
        if name not in shapes or 0 in shapes[name]:
            yield f"the size of {name} is not known before it runs"
        elif (count := math.prod(shapes[name])) > MAX_VALUES:
            yield f"{name} alone would take {count:,} values, more than {MAX_VALUES:,}"


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)
