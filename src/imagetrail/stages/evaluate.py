"""Judge the model, once, on test. Reads the model, valid (for calibration) and test, writes artifacts/evaluate."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from imagetrail import inspection, layout, metrics, models, plots, samples, training
from imagetrail.files import replacing, write_csv, write_json
from imagetrail.metrics import Floats
from imagetrail.params import Section, load
from imagetrail.rng import generator
from imagetrail.samples import Samples

MISTAKES = 40  # shown, the most confident first


class Evaluate(Section):
    """The `evaluate` section."""

    bootstrap: int = Field(ge=100)  # draws for an interval
    mirrored: bool  # also judge the mean of the answers to a picture and to its mirror image


def run() -> dict[str, float]:
    params, seed = load(Evaluate, "evaluate"), load(int, "seed")
    model = models.load(layout.ARTIFACTS / "train")
    valid, test = samples.read(layout.VALID), samples.read(layout.TEST)
    temperature = metrics.temperature(training.predict(model, valid, exact=True).double().numpy(), valid.labels)
    logits = training.predict(model, test, exact=True).double().numpy()
    probabilities, calibrated = metrics.softmax(logits), metrics.softmax(logits / temperature)
    folder = layout.artifacts("evaluate")
    found = _measure(probabilities, calibrated, test, temperature, params.bootstrap, seed)
    if params.mirrored:
        mirrored = metrics.softmax(training.predict(model, test, exact=True, mirrored=True).double().numpy())
        found["top1_mirrored"] = round(metrics.top1(probabilities + mirrored, test.labels), 6)
    write_json(folder / "metrics.json", found)
    write_json(folder / "classes.json", _by_class(probabilities, test))
    _write_predictions(folder / "predictions.parquet", probabilities, test)
    table = metrics.confusion(probabilities, test.labels)
    names = test.classes
    write_csv(
        folder / "confusion.csv",
        [{"label": name, **dict(zip(names, row.tolist(), strict=True))} for name, row in zip(names, table, strict=True)],
    )
    with replacing(folder / "confusion.png") as temporary:
        plots.confusion(table, names, temporary)
    with replacing(folder / "reliability.png") as temporary:
        plots.reliability(
            {
                "as trained": metrics.reliability(probabilities, test.labels),
                "calibrated": metrics.reliability(calibrated, test.labels),
            },
            temporary,
        )
    with replacing(folder / "mistakes.png") as temporary:
        inspection.contact_sheet(_mistakes(probabilities, test)).save(temporary, "png")
    print(f"top-1 on {len(test)} test images: {metrics.top1(probabilities, test.labels):.2%}")
    return {"images": len(test)}


def _measure(
    probabilities: Floats, calibrated: Floats, test: Samples, temperature: float, draws: int, seed: int
) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, metric in metrics.METRICS.items():
        found[name] = metric(probabilities, test.labels)
        low, high = metrics.bootstrap(metric, probabilities, test.labels, generator(seed, "bootstrap"), draws=draws)
        found |= {f"{name}_low": low, f"{name}_high": high}
    found["ece_calibrated"] = metrics.ece(calibrated, test.labels)
    found["temperature"] = temperature
    return {name: round(value, 6) for name, value in found.items()} | {"n": len(test)}


def _by_class(probabilities: Floats, test: Samples) -> list[dict[str, Any]]:
    table = metrics.confusion(probabilities, test.labels)
    right, labelled, predicted = table.diagonal(), table.sum(1), table.sum(0)
    return [
        {
            "class": name,
            "images": int(labelled[i]),
            "precision": round(float(right[i] / max(predicted[i], 1)), 6),
            "recall": round(float(right[i] / max(labelled[i], 1)), 6),
        }
        for i, name in enumerate(test.classes)
    ]


def _write_predictions(path: Path, probabilities: Floats, test: Samples) -> None:
    columns: dict[str, Any] = {"id": test.index["id"], "label": test.labels, "predicted": probabilities.argmax(1)}
    columns |= {f"p_{name}": probabilities[:, i].astype(np.float32) for i, name in enumerate(test.classes)}
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _mistakes(probabilities: Floats, test: Samples) -> list[samples.Images]:
    """The pictures that the model is most sure of and wrong about; the first pictures if it makes no mistake."""
    wrong = np.flatnonzero(probabilities.argmax(1) != test.labels)
    order = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")]
    return [test.images[i] for i in (order if len(order) else np.arange(len(test)))[:MISTAKES]]
