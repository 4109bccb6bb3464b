"""The model as one ONNX file: uint8 pictures in, calibrated probabilities out, preprocessing inside."""

import copy
import json
import logging
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from imagetrail.files import replacing
from imagetrail.models import Classifier
from imagetrail.onnx_model import INPUT, OUTPUTS, PRODUCER
from imagetrail.samples import Samples


class Deployed(nn.Module):
    """N×H×W×C uint8 to N×K probabilities, and to what the last layer sees, N×D."""

    def __init__(self, model: Classifier, temperature: float) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu()
        last = self.model.network[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():  # logits divided by the temperature, at no cost
            last.weight.div_(temperature)
            last.bias.div_(temperature)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        network = self.model.network
        features: Tensor = network[:-1](self.model.normal(images))
        probabilities: Tensor = network[-1](features).softmax(1)
        return probabilities, features


def to_onnx(model: Classifier, path: Path, *, temperature: float = 1.0, facts: Mapping[str, str] | None = None) -> None:
    """Writes `model` in float32, for any batch size; `facts` join its metadata."""
    spec = model.spec
    example = torch.zeros(2, spec.image_size, spec.image_size, spec.channels, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)  # of torch's own use of its own functions
    program = torch.onnx.export(
        Deployed(model, temperature).eval(),
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes={"images": {0: torch.export.Dim("N")}},
        verbose=False,
    )
    assert program is not None
    own = {"classes": json.dumps(spec.classes), "model": spec.model, "temperature": f"{temperature:.6g}"}
    _write(program.model_proto, own | {"producer": PRODUCER, "version": version("imagetrail")} | dict(facts or {}), path)


def quantise(float32: Path, calibration: Samples, path: Path) -> None:
    """Writes an int8 version of a file: static, per channel, ranges taken from `calibration`."""
    metadata = {entry.key: entry.value for entry in onnx.load(float32).metadata_props}
    with replacing(path) as temporary:
        prepared = temporary.with_suffix(".prepared")
        logging.getLogger().setLevel(logging.ERROR)  # onnxruntime's quantiser logs advice to the root logger
        try:
            quant_pre_process(str(float32), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(temporary),
                _Calibration(calibration),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            )
        finally:
            prepared.unlink(missing_ok=True)
        _write(onnx.load(temporary), metadata, temporary)


def _write(proto: onnx.ModelProto, metadata: dict[str, str], path: Path) -> None:
    for node in [*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output]:
        del node.metadata_props[:]  # the exporter leaves stack traces, with paths of this machine
        node.doc_string = ""
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Samples) -> None:
        self.chunks = samples.chunks(250)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        chunk = next(self.chunks, None)
        return None if chunk is None else {INPUT: chunk}
