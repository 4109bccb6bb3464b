"""Judge the model, once, on test.

Reads the model, valid (for calibration), test and data/unknown, writes artifacts/evaluate.
"""

from collections.abc import Callable
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
from imagetrail.data import datasets
from imagetrail.metrics import calibration, intervals, scores
from imagetrail.metrics.scores import Floats
from imagetrail.models import classifier, inference, weights
from imagetrail.plots import charts
from imagetrail.stages.evaluate import slices
from imagetrail.stages.evaluate.corruptions import CORRUPTIONS, STRENGTHS
from imagetrail.stages.evaluate.params import Evaluate

MISTAKES = 40  # shown, the most confident first
UNKNOWN = 2000  # pictures of another data set, at most
TINY = 1e-38  # in place of a probability of 0, whose logarithm would be infinite

Answer = Callable[[Images], Floats]  # N×H×W×C uint8 to N×K calibrated probabilities


def run() -> dict[str, float]:
    params, seed = load(Evaluate, "evaluate"), load(int, "seed")
    model = weights.load(paths.ARTIFACTS / "train")
    valid, test = samples.read(paths.VALID), samples.read(paths.TEST)
    groups = slices.groups(test, params.slices)
    calibrate = calibration.fit(_logits(model, valid.images), valid.labels)
    # rounded as predictions.parquet has them, so that every figure can be had from there to the last digit
    probabilities = (
        scores.softmax(_logits(model, test.images)).astype(np.float32).astype(np.float64)
    )
    calibrated = calibrate(np.log(np.maximum(probabilities, TINY)))

    def answer(images: Images) -> Floats:
        return calibrate(_logits(model, images))

    found = measure(probabilities, calibrated, test.labels, draws=params.bootstrap, seed=seed)
    found |= {"temperature": calibrate.temperature, "bend": calibrate.bend}
    if params.mirrored:
        mirrored = scores.softmax(_logits(model, test.images, mirrored=True))
        found["top1_mirrored"] = scores.top1(probabilities + mirrored, test.labels)
    found |= _robustness(answer, test, params, seed)
    if params.unknown:
        names = ("unknown_auroc", "unknown_auroc_low", "unknown_auroc_high")
        unknown = answer(_unknown(params.unknown, test.images.shape[1:], seed))
        found |= dict(zip(names, intervals.auroc(calibrated.max(1), unknown.max(1)), strict=True))
    folder = paths.artifacts("evaluate")
    write_json(folder / "metrics.json", {name: round(value, 6) for name, value in found.items()})
    write_json(folder / "classes.json", slices.by_class(probabilities, test))
    write_csv(folder / "slices.csv", slices.judge(groups, probabilities.argmax(1) == test.labels))
    _write_predictions(folder / "predictions.parquet", probabilities, test)
    _write_curves(folder, probabilities, calibrated, test)
    _draw_mistakes(folder / "mistakes.png", calibrated, test)
    print(f"top-1 on {len(test)} test images: {found['top1']:.2%}")
    return {"images": len(test)}


def _logits(model: classifier.Classifier, images: Images, *, mirrored: bool = False) -> Floats:
    bare = Samples(images, samples.INDEX.empty_table(), model.spec.classes)
    logits: Floats = inference.predict(model, bare, exact=True, mirrored=mirrored).double().numpy()
    return logits


def measure(
    probabilities: Floats, calibrated: Floats, labels: NDArray[np.int64], *, draws: int, seed: int
) -> dict[str, float]:
    """Every metric with its 95 % interval, and those of confidence a second time, after calibration."""
    k = min(5, probabilities.shape[1] - 1)
    judged = {
        name: (metric, probabilities)
        for name, metric in (scores.METRICS | {"topk": scores.top(k)}).items()
    }
    judged |= {
        f"{name}_calibrated": (scores.METRICS[name], calibrated)
        for name in ("log_loss", "brier", "ece")
    }
    ends = intervals.bootstrap(judged, labels, generator(seed, "bootstrap"), draws=draws)
    found: dict[str, float] = {"n": len(labels), "k": k}
    for name, (metric, values) in judged.items():
        low, high = ends[name]
        found |= {name: metric(values, labels), f"{name}_low": low, f"{name}_high": high}
    return found | {"aurc": 1 - float(scores.coverage(calibrated, labels)[1].mean())}


def _robustness(answer: Answer, test: Samples, params: Evaluate, seed: int) -> dict[str, float]:
    """Tries every corruption on some of the test images; writes robustness.csv and an example of each."""
    chosen = np.sort(generator(seed, "corrupted").permutation(len(test))[: params.corrupted])
    labels = test.labels[chosen]
    kinds = [(name, strength) for strength in STRENGTHS for name in CORRUPTIONS]
    right = np.empty((len(chosen), len(kinds)), np.bool_)
    clean = 0
    examples: list[Images] = []
    for start in range(0, len(chosen), 100):  # few at a time, to bound the memory
        part = slice(start, start + 100)
        images = test.gather(chosen[part])
        clean += int((answer(images).argmax(1) == labels[part]).sum())
        for i, (name, strength) in enumerate(kinds):
            corrupted = CORRUPTIONS[name](
                images, strength, generator(seed, "corrupt", name, strength, start)
            )
            right[part, i] = answer(corrupted).argmax(1) == labels[part]
            examples += [corrupted[0]] if start == 0 else []
    top1, (low, high) = (
        right.mean(0),
        intervals.wilson(right.sum(0), np.full(len(kinds), len(chosen))),
    )
    figures = np.stack([top1, low, high], 1).round(6).tolist()
    rows = [
        {
            "corruption": name,
            "strength": strength,
            **dict(zip(("top1", "low", "high"), shares, strict=True)),
        }
        for (name, strength), shares in zip(kinds, figures, strict=True)
    ]
    folder = paths.artifacts("evaluate")
    write_csv(folder / "robustness.csv", rows)
    captions = [
        f"{name} {strength}: {share:.1%}"
        for (name, strength), share in zip(kinds, top1, strict=True)
    ]
    with replacing(folder / "robustness.png") as temporary:
        charts.gallery(examples, captions, temporary, columns=len(CORRUPTIONS))
    wrong = 1 - right.mean(1, keepdims=True)
    ends = intervals.interval(
        intervals.resampled(wrong, generator(seed, "bootstrap"), draws=params.bootstrap)
    )
    names = ("mean_corruption_error", "mean_corruption_error_low", "mean_corruption_error_high")
    return {
        "top1_clean_subset": clean / len(chosen),
        **dict(zip(names, (float(wrong.mean()), *ends), strict=True)),
    }


def _unknown(name: str, shape: tuple[int, int, int], seed: int) -> Images:
    """Pictures of another data set, of its test set if it has one, brought to our size and colour."""
    pictures = datasets.read(name, paths.UNKNOWN / name)
    held_out = [i for i, split in enumerate(pictures.splits) if split == "test"] or list(
        range(len(pictures))
    )
    order = generator(seed, "unknown").permutation(len(held_out))[:UNKNOWN]
    return np.stack(list(pictures.readable([held_out[i] for i in order], shape)))


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


def _write_curves(folder: Path, probabilities: Floats, calibrated: Floats, test: Samples) -> None:
    table, names = scores.confusion(probabilities, test.labels), test.classes
    rows = [
        {"label": name, **dict(zip(names, row.tolist(), strict=True))}
        for name, row in zip(names, table, strict=True)
    ]
    write_csv(folder / "confusion.csv", rows)
    with replacing(folder / "confusion.png") as temporary:
        charts.confusion(table, names, temporary)
    curves = {
        name: scores.reliability(values, test.labels)
        for name, values in (("as trained", probabilities), ("calibrated", calibrated))
    }
    with replacing(folder / "reliability.png") as temporary:
        charts.reliability(curves, temporary)
    confidence, accuracy = scores.coverage(calibrated, test.labels)
    answered = np.unique(
        np.ceil(np.arange(1, 101) / 100 * len(test)).astype(int)
    )  # images, in steps of 1 %
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
    """The pictures that the model is most sure of and wrong about; the first pictures if it makes no mistake."""
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != test.labels)
    order = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")]
    shown = (order if len(order) else np.arange(len(test)))[:MISTAKES]
    names = test.classes
    captions = [
        f"{names[test.labels[i]]}\nas {names[predicted[i]]}, {probabilities[i].max():.1%}"
        for i in shown
    ]
    with replacing(path) as temporary:
        charts.gallery([test.images[i] for i in shown], captions, temporary)
