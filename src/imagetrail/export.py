"""The model as one ONNX file: uint8 pictures in, probabilities out, preprocessing inside."""

import json
import logging
import warnings
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
from imagetrail.samples import Samples

INPUT, OUTPUT = "images", "probabilities"


class Deployed(nn.Module):
    """N×H×W×C uint8 to N×K probabilities."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        probabilities: Tensor = self.model(images).softmax(1)
        return probabilities


def to_onnx(model: Classifier, path: Path) -> None:
    """Writes `model` in float32, for any batch size."""
    spec = model.spec
    example = torch.zeros(2, spec.image_size, spec.image_size, spec.channels, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)  # of torch's own use of its own functions
    program = torch.onnx.export(
        Deployed(model).eval(),
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={"images": {0: torch.export.Dim("N")}},
        verbose=False,
    )
    assert program is not None
    _write(program.model_proto, model, path)


def quantise(float32: Path, model: Classifier, calibration: Samples, path: Path) -> None:
    """Writes an int8 version: static, per channel, ranges taken from `calibration`."""
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
        quantised = onnx.load(temporary)
        _write(quantised, model, temporary)


def _write(proto: onnx.ModelProto, model: Classifier, path: Path) -> None:
    for node in [*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output]:
        del node.metadata_props[:]  # the exporter leaves stack traces, with paths of this machine
        node.doc_string = ""
    del proto.metadata_props[:]
    facts = {"classes": json.dumps(model.spec.classes), "model": model.spec.model, "producer": "imagetrail"}
    onnx.helper.set_model_props(proto, facts)
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: Samples) -> None:
        self.chunks = samples.chunks(250)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        chunk = next(self.chunks, None)
        return None if chunk is None else {INPUT: chunk}
