"""Judge the model, once, on test.

Reads the model, valid (for calibration), test and unknown, writes artifacts/evaluate.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imagetrail.base import paths, samples
from imagetrail.base.files import replacing, write_csv, write_json
from imagetrail.base.params import load
from imagetrail.base.rng import generator
from imagetrail.base.samples import Images, Samples
from imagetrail.base.terminal import say
from imagetrail.base.units import units
from imagetrail.base.words import percent
from imagetrail.metrics import calibration, intervals, judgement, scores
from imagetrail.metrics.scores import Floats
from imagetrail.models import classifier, inference, weights
from imagetrail.models.folded import folded
from imagetrail.plots import charts
from imagetrail.stages.evaluate import robustness, slices
from imagetrail.stages.evaluate.corruptions import CORRUPTIONS
from imagetrail.stages.evaluate.params import Evaluate
from imagetrail.stages.evaluate.robustness import Answer

MISTAKES = 40  # shown, the most confident first
# Of metrics.json, what a table in a terminal has room for, by names that sort the first one first.
HEADLINE = {
    "accuracy": "top1",
    "accuracy_low": "top1_low",
    "accuracy_high": "top1_high",
    "macro_recall": "macro_recall",
}
TINY = 1e-38  # in place of a probability of 0, whose logarithm would be infinite


def run() -> dict[str, float]:
    params, seed = load(Evaluate, "evaluate"), load(int, "seed")
    model = folded(weights.load(paths.ARTIFACTS / "train"))
    valid, test = samples.read(paths.VALID), samples.read(paths.TEST)
    groups = slices.groups(test, params.slices)
    calibrate = calibration.fit(_logits(model, valid.images), valid.labels)
    # rounded as predictions.parquet has them, from which every figure can be had to the last digit
    rounded = scores.softmax(_logits(model, test.images)).astype(np.float32)
    probabilities = rounded.astype(np.float64)
    calibrated = calibrate(np.log(np.maximum(probabilities, TINY)))

    def answer(images: Images) -> Floats:
        return calibrate(_logits(model, images))

    together, draws = units(test.index), params.bootstrap
    given = probabilities, calibrated, test.labels
    found = measure(*given, draws=draws, seed=seed, units=together)
    found |= {"temperature": calibrate.temperature, "bend": calibrate.bend}
    if params.mirrored:
        mirrored = scores.softmax(_logits(model, test.images, mirrored=True))
        found["top1_mirrored"] = scores.top1(probabilities + mirrored, test.labels)
    folder = paths.artifacts("evaluate")
    right = probabilities.argmax(1) == test.labels
    found |= _write_robustness(folder, answer, test, right, together, params.corrupted, seed)
    unknown = samples.read(paths.UNKNOWN)
    if len(unknown):
        names = ("unknown_auroc", "unknown_auroc_low", "unknown_auroc_high")
        ends = intervals.auroc(calibrated.max(1), answer(unknown.images).max(1))
        found |= dict(zip(names, ends, strict=True))
    rounded_off = {name: round(value, 6) for name, value in found.items()}
    write_json(folder / "metrics.json", rounded_off)
    write_json(folder / "headline.json", {name: rounded_off[of] for name, of in HEADLINE.items()})
    write_json(folder / "classes.json", slices.by_class(probabilities, test, together))
    write_csv(folder / "slices.csv", slices.judge(groups, right, together))
    _write_predictions(folder / "predictions.parquet", probabilities, test)
    _write_confusion(folder, probabilities, test)
    _write_curves(folder, probabilities, calibrated, test)
    _draw_mistakes(folder / "mistakes.png", calibrated, test)
    say(f"top-1 on {len(test)} test images: {percent(found['top1'])}")
    return {"images": len(test)}


def _logits(model: classifier.Classifier, images: Images, *, mirrored: bool = False) -> Floats:
    bare = Samples(images, samples.INDEX.empty_table(), model.spec.classes)
    logits: Floats = inference.predict(model, bare, exact=True, mirrored=mirrored).double().numpy()
    return logits


def measure(
    probabilities: Floats,
    calibrated: Floats,
    labels: NDArray[np.int64],
    *,
    draws: int,
    seed: int,
    units: NDArray[np.int64],
) -> dict[str, float]:
    """Every metric with its 95 % interval; those of confidence also after calibration.

    units: a number for each image, equal for those that belong together, such as a patient's.
    """
    k = min(5, probabilities.shape[1] - 1)
    judged = {
        name: (metric, probabilities)
        for name, metric in (scores.METRICS | {"topk": scores.top(k)}).items()
    }
    judged |= {
        f"{name}_calibrated": (scores.METRICS[name], calibrated)
        for name in ("log_loss", "brier", "ece")
    }
    rng = generator(seed, "bootstrap")
    found: dict[str, float] = {"n": len(labels), "k": k}
    found |= judgement.judge(judged, labels, rng, draws=draws, units=units)
    return found | {"aurc": 1 - float(scores.coverage(calibrated, labels)[1].mean())}


def _write_robustness(
    folder: Path,
    answer: Answer,
    test: Samples,
    clean: NDArray[np.bool_],
    units: NDArray[np.int64],
    count: int | None,
    seed: int,
) -> dict[str, float]:
    """Tries every corruption on `count` test images; returns the figures of them all.

    clean: whether the model is right on each image as it is.
    """
    chosen = np.sort(generator(seed, "corrupted").permutation(len(test))[:count])
    found = robustness.judge(answer, test, chosen, seed, clean=float(clean[chosen].mean()))
    _, some = np.unique(units[chosen], return_inverse=True)
    rows = robustness.by_corruption(found, some)
    write_csv(folder / "robustness.csv", rows)
    captions = [f"{row['corruption']} {row['strength']}: {percent(row['top1'], 1)}" for row in rows]
    with replacing(folder / "robustness.png") as temporary:
        charts.gallery(found.examples, captions, temporary, columns=len(CORRUPTIONS))
    return robustness.in_the_mean(found, some)


def _write_predictions(path: Path, probabilities: Floats, test: Samples) -> None:
    columns: dict[str, Any] = {
        "id": test.index["id"],
        "label": test.labels,
        "predicted": probabilities.argmax(1),
    }
    columns |= {
        f"p_{name}": probabilities[:, i].astype(np.float32) for i, name in enumerate(test.classes)
    }
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _write_confusion(folder: Path, probabilities: Floats, test: Samples) -> None:
    table, names = scores.confusion(probabilities, test.labels), test.classes
    rows = [
        {
            "label": names[label],
            "predicted": names[predicted],
            "images": int(table[label, predicted]),
        }
        for label, predicted in np.argwhere(table)
    ]
    write_csv(folder / "confusion.csv", rows)
    with replacing(folder / "confusion.png") as temporary:
        charts.confusion(table, names, temporary)


def _write_curves(folder: Path, probabilities: Floats, calibrated: Floats, test: Samples) -> None:
    curves = {
        name: scores.reliability(values, test.labels)
        for name, values in (("as trained", probabilities), ("calibrated", calibrated))
    }
    with replacing(folder / "reliability.png") as temporary:
        charts.reliability(curves, temporary)
    confidence, accuracy = scores.coverage(calibrated, test.labels)
    steps = np.ceil(np.arange(1, 101) / 100 * len(test))  # of 1 % of the images
    answered = np.unique(steps.astype(int))
    points = [
        {
            "coverage": round(count / len(test), 6),
            "threshold": round(float(threshold), 6),
            "top1": round(float(top1), 6),
        }
        for count, threshold, top1 in zip(
            answered, confidence[answered - 1], accuracy[answered - 1], strict=True
        )
    ]
    write_csv(folder / "coverage.csv", points)
    with replacing(folder / "coverage.png") as temporary:
        charts.coverage(points, temporary)


def _draw_mistakes(path: Path, probabilities: Floats, test: Samples) -> None:
    """The pictures that the model is most sure of and wrong about; the first if there are none."""
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != test.labels)
    order = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")]
    shown = (order if len(order) else np.arange(len(test)))[:MISTAKES]
    names = test.classes
    captions = [
        f"{names[test.labels[i]]}\n{charts.ARROW} {names[predicted[i]]}, "
        f"{percent(probabilities[i].max(), 1)}"
        for i in shown
    ]
    with replacing(path) as temporary:
        charts.gallery([test.images[i] for i in shown], captions, temporary)
