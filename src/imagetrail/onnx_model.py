"""An exported model in use: onnxruntime alone, no torch."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from imagetrail.samples import Samples


def load(path: Path, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session on the CPU; 0 threads: one a core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def predict(session: onnxruntime.InferenceSession, samples: Samples, *, batch_size: int = 1000) -> NDArray[np.float64]:
    """Probabilities N×K."""
    name = session.get_inputs()[0].name
    chunks = [session.run(None, {name: np.ascontiguousarray(chunk)})[0] for chunk in samples.chunks(batch_size)]
    return np.concatenate(chunks).astype(np.float64)
