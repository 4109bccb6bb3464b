"""Make the model something to ship. Reads the model and its recipe and all of data/split, writes artifacts/export.

Files are chosen by valid; what they reach on test is told for each.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imagetrail.base import paths, pipeline, samples
from imagetrail.base.errors import UserError
from imagetrail.base.files import remove, replacing, write_json
from imagetrail.base.params import check, load, read_yaml
from imagetrail.base.rng import derive, generator
from imagetrail.base.samples import Samples, fingerprint
from imagetrail.data import datasets
from imagetrail.metrics import calibration, scores, significance
from imagetrail.models import inference, weights
from imagetrail.models.classifier import Classifier
from imagetrail.serving import onnx_model
from imagetrail.serving.onnx_model import Model
from imagetrail.stages.export import onnx_export
from imagetrail.stages.export.onnx_export import File
from imagetrail.stages.export.params import Budget, Export, Student
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.history import as_row
from imagetrail.training.recipe import Recipe

BATCHES, THREADS = (1, 256), (1, 2)  # that are timed
QUERIED = 500  # validation images on which a file must agree with what it was made from
REFERENCE = 2000  # validation images whose features are kept


def run() -> dict[str, float]:
    params, seed = load(Export, "export"), load(int, "seed")
    facts = {
        "data": pipeline.data_version() or "unknown",
        "licence": datasets.DATASETS[load(str, "data.name")].licence,
    }
    train, valid, test = (samples.read(folder) for folder in (paths.TRAIN, paths.VALID, paths.TEST))
    folder = paths.artifacts("export")
    model = weights.load(paths.ARTIFACTS / "train")
    files = {"float32": folder / "model.onnx", "int8": folder / "model.int8.onnx"}
    told = _write(model, files["float32"], files["int8"], facts, params, seed)
    expected = {"float32": told, "int8": told}
    history: list[dict[str, float]] = []
    remove(folder / "student")
    if params.student:
        files["student"] = folder / "student" / "model.int8.onnx"
        student, history = _distil(model, params.student, train, valid, seed)
        expected["student"] = _write(
            student, folder / "student" / "model.onnx", files["student"], facts, params, seed
        )
    write_json(folder / "student" / "history.json", history)
    opened = {kind: _open(path, valid) for kind, path in files.items()}
    timing = {
        key: value for kind, path in files.items() for key, value in _time(kind, path, test).items()
    }
    rows = _judge(files, opened, expected, valid, test)
    chosen = onnx_export.choose(
        [
            File(
                row["format"],
                row["bytes"],
                timing[f"{row['format']}_ms_batch1"],
                -row["valid_difference"],
            )
            for row in rows
        ],
        params.budget,
    )
    write_json(
        folder / "export.json", [row | {"chosen": row["format"] == chosen.name} for row in rows]
    )
    _write_reference(folder / "reference.npz", opened[chosen.name], valid, seed)
    _write_trained_on(folder / "trained_on.parquet", train, valid, samples.read(paths.RELATED))
    _tell(rows, timing, chosen.name, params.budget)
    return timing


def _write(
    model: Classifier, float32: Path, int8: Path, facts: dict[str, str], params: Export, seed: int
) -> NDArray[np.float64]:
    """Writes a model as two files, calibrated on valid and proven to be the model that was trained.

    Returns what the trained model says of the first QUERIED images of valid.
    """
    train, valid = samples.read(paths.TRAIN), samples.read(paths.VALID)
    logits = inference.predict(model, valid, exact=True).double().numpy()
    calibrate = calibration.fit(logits, valid.labels)  # as evaluate has it
    onnx_export.to_onnx(model, float32, calibration=calibrate, facts=facts)
    told = calibrate(logits[:QUERIED])
    difference = _largest_difference(told, onnx_model.load(float32), valid)
    if not difference <= params.tolerance:
        raise UserError(
            f"{float32} differs from the trained model by {difference:.2g} in probability, more than {params.tolerance:g}"
        )
    chosen = np.sort(generator(seed, "calibration").permutation(len(train))[: params.calibration])
    onnx_export.quantise(
        float32, Samples(train.images[chosen], train.index.take(chosen), train.classes), int8
    )
    return told


def _largest_difference(told: NDArray[np.float64], model: Model, valid: Samples) -> float:
    return float(np.abs(told - model.predict(valid.images[:QUERIED])).max())


def _distil(
    teacher: Classifier, student: Student, train: Samples, valid: Samples, seed: int
) -> tuple[Classifier, list[dict[str, float]]]:
    """A narrower network that learns the teacher's probabilities instead of the labels (arXiv:1503.02531)."""
    told = read_yaml(paths.ARTIFACTS / "train" / "recipe.json")
    changes = {
        "width": student.width,
        "epochs": student.epochs,
        "label_smoothing": 0.0,
        "augmented": 0.0,
        "synthetic": 0.0,
    }
    recipe = check(Recipe, told | changes, "params.yaml: export.student")
    begun = loop.start(recipe, train, seed=derive(seed, "student"))
    begun.teacher = teacher.to(begun.machine.device)
    history = [
        as_row(epoch)
        for epoch in loop.fit(begun, Mixture(train, repeat_to=recipe.repeat_to), valid)
    ]
    return begun.outcome.cpu(), history


def _open(path: Path, valid: Samples) -> Model:
    """The model in a file that a clean process could use as well."""
    model, few = onnx_model.load(path), valid.images[:QUERIED]
    if not np.allclose(onnx_export.answers_alone(path, few), model.predict(few), atol=1e-4):
        raise UserError(
            f"{path} answers otherwise in a process of its own than here; run `imagetrail export` again"
        )
    return model


def _judge(
    files: dict[str, Path],
    opened: dict[str, Model],
    expected: dict[str, NDArray[np.float64]],
    valid: Samples,
    test: Samples,
) -> list[dict[str, Any]]:
    """A row a file; differences are to float32 on the same images, positive where the file is better.

    `parity` is the largest difference in probability to what the network that it was made from has `expected` for.
    """
    rows: list[dict[str, Any]] = []
    right: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {}
    for kind, path in files.items():
        probabilities = opened[kind].predict(test.images)
        right[kind] = (
            opened[kind].predict(valid.images).argmax(1) == valid.labels,
            probabilities.argmax(1) == test.labels,
        )
        difference, low, high = significance.paired_interval(right[kind][1], right["float32"][1])
        figures = {
            **{
                name: scores.METRICS[name](probabilities, test.labels)
                for name in ("top1", "log_loss")
            },
            "top1_difference": difference,
            "top1_difference_low": low,
            "top1_difference_high": high,
            "parity": _largest_difference(expected[kind], opened[kind], valid),
            "valid_difference": float(right[kind][0].mean() - right["float32"][0].mean()),
        }
        told = {name: round(value, 6) for name, value in figures.items()}
        file = str(path.relative_to(files["float32"].parent))
        rows.append({"file": file, "format": kind, "bytes": path.stat().st_size, **told})
    return rows


def _time(kind: str, path: Path, test: Samples) -> dict[str, float]:
    """Milliseconds by size of batch and number of threads; `int8_ms_batch1` is the median on one thread."""
    found = {}
    for threads in THREADS:
        model = onnx_model.load(path, threads_a_batch=threads)
        for size in BATCHES:
            images = np.resize(test.images[:size], (size, *test.images.shape[1:]))
            name = f"{kind}_ms_batch{size}" + (f"_threads{threads}" if threads > 1 else "")
            found[name], found[f"{name}_p99"] = onnx_export.latency(model, images)
    return found


def _write_reference(path: Path, model: Model, valid: Samples, seed: int) -> None:
    """What the shipped file sees in usual images, which it was not fitted to: what drift is measured against."""
    chosen = np.sort(generator(seed, "reference").permutation(len(valid))[:REFERENCE])
    probabilities, features = model.run(valid.images[chosen])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            features=features,
            counts=np.bincount(probabilities.argmax(1), minlength=len(valid.classes)),
        )


def _write_trained_on(path: Path, *parts: Samples) -> None:
    """Which images the model, or what chose it, has seen: by name, and by content, as a file may change its name."""
    ids = [name for part in parts for name in part.column("id")]
    prints = [fingerprint(image) for part in parts for chunk in part.chunks() for image in chunk]
    with replacing(path) as temporary:
        pq.write_table(pa.table({"id": ids, "fingerprint": prints}), temporary)


def _tell(
    rows: list[dict[str, Any]], timing: dict[str, float], chosen: str, budget: Budget
) -> None:
    for row in rows:
        kind = row["format"]
        speed = f"{timing[f'{kind}_ms_batch1']:.2f} ms a picture, {256e3 / timing[f'{kind}_ms_batch256']:,.0f} a second"
        mark = "  <- shipped" if kind == chosen else ""
        print(f"{kind:8s} top-1 {row['top1']:.2%}  {row['bytes'] / 1e6:.2f} MB  {speed}{mark}")
    for size in BATCHES:
        if timing[f"int8_ms_batch{size}"] > timing[f"float32_ms_batch{size}"]:
            print(f"int8 is smaller but slower than float32 on this machine, in batches of {size}")
    if budget.max_ms is not None:
        print("which file is shipped depends on this machine's clock: export.budget.max_ms is set")
