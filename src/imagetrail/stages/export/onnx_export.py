"""The model as one ONNX file: uint8 pictures in, calibrated probabilities out."""

import copy
import json
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing
from imagetrail.base.samples import Images, Samples, at_once
from imagetrail.base.words import percent
from imagetrail.metrics.calibration import Calibration
from imagetrail.models.classifier import Classifier
from imagetrail.serving.onnx_model import INPUT, OUTPUTS, PRODUCER, Model
from imagetrail.stages.export.params import Budget

AS_TRAINED = Calibration(temperature=1.0)
DENSE, CUTTING = ("Gemm", "MatMul"), ("Relu", "Clip")  # operators of ONNX: layers, activations


class Deployed(nn.Module):
    """N×H×W×C uint8 to N×K probabilities, and to the features that the head sees, N×D."""

    def __init__(self, model: Classifier, calibration: Calibration) -> None:
        super().__init__()
        self.model, self.calibration = copy.deepcopy(model).cpu(), calibration
        self.mean, self.std = (
            values.reshape(-1, 1, 1) for values in (self.model.mean, self.model.std)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # as Classifier has it, but channels first: onnxruntime is slow to subtract along a last
        # dimension of 1 or 3
        normal = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        features: Tensor = self.model.trunk(self.model.enlarged(normal))
        logs: Tensor = self.model.head(features).log_softmax(1)
        bent = logs - self.calibration.bend * logs**2
        return (bent / self.calibration.temperature).softmax(1), features


def to_onnx(
    model: Classifier,
    path: Path,
    *,
    calibration: Calibration = AS_TRAINED,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Writes `model` in float32, for any batch size; `facts` join its metadata.

    Raises UserError for a network that ONNX has no words for.
    """
    spec = model.spec
    example = torch.zeros(2, *spec.shape, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)  # of torch's own use of its own functions
    try:
        program = torch.onnx.export(
            Deployed(model, calibration).eval(),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": {0: torch.export.Dim("N")}},
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:  # some networks of the hub
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise UserError(f"{spec.model} cannot be written as ONNX: {reason}") from None
    assert program is not None
    own = {"classes": json.dumps(spec.classes), "model": spec.model}
    own |= {name: str(value) for name, value in asdict(calibration).items()}
    _write(
        program.model_proto,
        own | {"producer": PRODUCER, "version": version("imagetrail")} | dict(facts or {}),
        path,
    )


def quantise(float32: Path, calibration: Samples, path: Path, *, enlarged: int = 1) -> None:
    """Writes an int8 version of a file: static, per channel, ranges taken from `calibration`.

    What relu and relu6 cut off is not worth steps of its own: so they are quantised as one with the
    layer before them. enlarged: the factor by which the network enlarges pictures.
    """
    metadata = {entry.key: entry.value for entry in onnx.load(float32).metadata_props}
    with replacing(path) as temporary:
        prepared = temporary.with_suffix(".prepared")
        # onnxruntime's quantiser logs advice to the root logger
        logging.getLogger().setLevel(logging.ERROR)
        try:
            quant_pre_process(str(float32), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(temporary),
                _Calibration(calibration, enlarged),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                op_types_to_quantize=["Conv", *DENSE, *CUTTING],
                nodes_to_exclude=_in_float32(onnx.load(prepared).graph),
            )
        finally:
            prepared.unlink(missing_ok=True)
        _write(onnx.load(temporary), metadata, temporary)


def _in_float32(graph: onnx.GraphProto) -> list[str]:
    """Names of nodes that int8 makes slower.

    The first convolution, with one channel or three to sum over; and what cuts off after a dense
    layer, which onnxruntime computes in int8 only if nothing is joined with it.
    """
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    dense = {node.output[0] for node in graph.node if node.op_type in DENSE}
    cutting = [node for node in graph.node if node.op_type in CUTTING]
    return convolutions[:1] + [node.name for node in cutting if node.input[0] in dense]


def _write(proto: onnx.ModelProto, metadata: dict[str, str], path: Path) -> None:
    for node in [
        *proto.graph.node,
        *proto.graph.value_info,
        *proto.graph.input,
        *proto.graph.output,
    ]:
        del node.metadata_props[:]  # the exporter leaves stack traces, with paths of this machine
        node.doc_string = ""
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Samples, enlarged: int) -> None:
        height, width = samples.images.shape[1:3]
        self.chunks = samples.chunks(at_once((height * enlarged, width * enlarged), 250))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        chunk = next(self.chunks, None)
        return None if chunk is None else {INPUT: chunk}


# ---- what a file is worth ----

# In a process of its own: the model's answers to the bytes on standard input.
ALONE = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
shape = session.get_inputs()[0].shape[1:]
images = numpy.frombuffer(sys.stdin.buffer.read(), "uint8").reshape(-1, *shape)
sys.stdout.buffer.write(session.run(["probabilities"], {"images": images})[0].tobytes())
"""


def answers_alone(path: Path, images: Images) -> NDArray[np.float32]:
    """Probabilities n×K from a clean process that has nothing of imagetrail or torch.

    Raises UserError if it cannot load the file with onnxruntime and numpy alone.
    """
    command = [sys.executable, "-I", "-c", ALONE, str(path.resolve())]
    done = subprocess.run(
        command, input=np.ascontiguousarray(images).tobytes(), capture_output=True, cwd="/"
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise UserError(f"{path} cannot be used by onnxruntime alone: {lines[-1]}")
    return np.frombuffer(done.stdout, np.float32).reshape(len(images), -1)


def latency(
    model: Model, images: Images, *, least: int = 3, most: int = 300, seconds: float = 0.5
) -> tuple[float, float]:
    """Median and 99th percentile of the milliseconds that a batch takes.

    They are of `most` runs, or of as many as `seconds` allow, but of `least`: a batch that takes
    seconds takes nearly the same each time.
    """
    model.run(images, batch_size=len(images))  # the first one takes longer
    taken: list[float] = []
    while len(taken) < least or (len(taken) < most and sum(taken) < seconds):
        before = time.perf_counter()
        model.run(images, batch_size=len(images))
        taken.append(time.perf_counter() - before)
    return float(np.median(taken)) * 1000, float(np.percentile(taken, 99)) * 1000


@dataclass(frozen=True)
class File:
    """What the budget looks at."""

    name: str
    bytes: int
    ms: float
    loss: float


def choose(files: Sequence[File], budget: Budget) -> File:
    """The smallest file within the budget; raises UserError if there is none."""

    def within(file: File) -> bool:
        pairs = (
            (file.ms, budget.max_ms),
            (file.bytes / 1e6, budget.max_mb),
            (file.loss, budget.max_loss),
        )
        return all(bound is None or value <= bound for value, bound in pairs)

    fitting = [file for file in files if within(file)]
    if not fitting:
        sizes = "; ".join(
            f"{file.name} {file.bytes / 1e6:.2f} MB, {file.ms:.2f} ms, loss {percent(file.loss)}"
            for file in files
        )
        raise UserError(f"params.yaml: export.budget: no file is within it: {sizes}")
    return min(fitting, key=lambda file: file.bytes)
