"""Make the model something to ship. Reads the model, train (to calibrate int8), valid and test, writes artifacts/export."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from imagetrail import export, layout, metrics, models, onnx_model, samples
from imagetrail.errors import UserError
from imagetrail.files import write_json
from imagetrail.params import Section, load
from imagetrail.rng import generator
from imagetrail.samples import Samples

REPEATS = 200  # single pictures timed


class Export(Section):
    """The `export` section."""

    tolerance: float = Field(gt=0)  # largest difference in probability between ONNX and torch
    calibration: int = Field(ge=1)  # training images that set the ranges of int8


def run() -> dict[str, float]:
    params, seed = load(Export, "export"), load(int, "seed")
    model = models.load(layout.ARTIFACTS / "train")
    train, valid, test = (samples.read(folder) for folder in (layout.TRAIN, layout.VALID, layout.TEST))
    folder = layout.artifacts("export")
    float32, int8 = folder / "model.onnx", folder / "model.int8.onnx"
    export.to_onnx(model, float32)
    _refuse_difference(model, float32, valid, params.tolerance)
    chosen = np.sort(generator(seed, "calibration").permutation(len(train))[: params.calibration])
    export.quantise(float32, Samples(train.images[chosen], train.index.take(chosen), train.classes), int8)
    facts: list[dict[str, Any]] = []
    timing: dict[str, float] = {}
    for file, kind in ((float32, "float32"), (int8, "int8")):
        facts.append(_facts(file, kind, test))
        timing |= {f"{kind}_{name}": value for name, value in _time(file, test).items()}
    write_json(folder / "export.json", facts)
    for fact in facts:
        speed = timing[f"{fact['format']}_ms_batch1"]
        print(f"{fact['format']:8s} top-1 {fact['top1']:.2%}  {fact['bytes'] / 1e6:.2f} MB  {speed:.2f} ms a picture")
    if timing["int8_ms_batch1"] > timing["float32_ms_batch1"]:
        print("int8 is smaller but not faster on this machine")
    return timing


def _refuse_difference(model: models.Classifier, path: Path, images: Samples, tolerance: float) -> None:
    """Raises UserError if the exported model, in float32, is not the model that was trained."""
    few = Samples(images.images[:500], images.index.slice(0, 500), images.classes)
    with torch.no_grad():
        ours = model(torch.from_numpy(few.images.copy())).softmax(1).numpy()
    difference = float(np.abs(ours - onnx_model.load(path).predict(few.images)).max())
    if not difference <= tolerance:
        raise UserError(f"{path} differs from the trained model by {difference:.2g} in probability, more than {tolerance:g}")


def _facts(path: Path, kind: str, test: Samples) -> dict[str, Any]:
    probabilities = onnx_model.load(path).predict(test.images)
    found = {name: round(metrics.METRICS[name](probabilities, test.labels), 6) for name in ("top1", "log_loss")}
    return {"file": path.name, "format": kind, **found, "bytes": path.stat().st_size}


def _time(path: Path, test: Samples) -> dict[str, float]:
    """Milliseconds for a single picture (median), and pictures a second in batches, both on one thread."""
    model = onnx_model.load(path, threads=1)
    singles = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        model.run(test.images[:1])
        singles.append(time.perf_counter() - before)
    before = time.perf_counter()
    model.predict(test.images)
    return {"ms_batch1": float(np.median(singles)) * 1000, "images_per_second": len(test) / (time.perf_counter() - before)}
