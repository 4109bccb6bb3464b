"""Make the model something to ship.

Reads the model, its recipe, all of data/split but unknown, and the licence that inspect noted;
writes artifacts/export. Files are chosen by valid; what each reaches on test is noted.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imagetrail.base import paths, pipeline, samples
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_json, remove, replacing, write_json
from imagetrail.base.params import check, load
from imagetrail.base.rng import derive, generator
from imagetrail.base.samples import Samples
from imagetrail.base.terminal import say, track
from imagetrail.base.words import percent
from imagetrail.metrics import calibration, scores, significance
from imagetrail.models import inference, weights
from imagetrail.models.classifier import Classifier
from imagetrail.serving import onnx_model, tried
from imagetrail.serving.onnx_model import Model
from imagetrail.stages.export import onnx_export
from imagetrail.stages.export.onnx_export import File
from imagetrail.stages.export.params import Budget, Export, taught
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.history import as_row
from imagetrail.training.recipe import Recipe

BATCHES, THREADS = (1, 256), (1, 2)  # that are timed
QUERIED = 500  # validation images on which a file must agree with what it was made from
REFERENCE = 2000  # validation images whose features are kept

Probabilities = NDArray[np.float64]  # N×K


def run() -> dict[str, float]:
    params, seed = load(Export, "export"), load(int, "seed")
    train, valid, test = (samples.read(folder) for folder in (paths.TRAIN, paths.VALID, paths.TEST))
    folder = paths.artifacts("export")
    files, expected = _write_files(folder, params, train, valid, seed)
    opened = {kind: _open(path, valid) for kind, path in files.items()}
    timing: dict[str, float] = {}
    for kind, path in track(files.items(), len(files), "timing", "files"):
        timing |= _time(kind, path, test)
    rows = _judge(files, opened, expected, valid, test)
    chosen = _choose(rows, timing, params.budget)
    marked = [row | {"chosen": row["format"] == chosen} for row in rows]
    write_json(folder / "export.json", marked)
    _write_reference(folder / "reference.npz", opened[chosen], valid, seed)
    _write_trained_on(folder / "trained_on.parquet", train, valid, samples.read(paths.RELATED))
    _report(rows, timing, chosen, params.budget)
    return timing


def _write_files(
    folder: Path, params: Export, train: Samples, valid: Samples, seed: int
) -> tuple[dict[str, Path], dict[str, Probabilities]]:
    """Writes the model and, if there is to be one, its student.

    Returns the files that may be shipped, and what the network that each was made from answers.
    """
    facts = {"data": pipeline.data_version() or "unknown"} | _prepared()
    trained = paths.ARTIFACTS / "train"
    model = weights.load(trained)
    files = {"float32": folder / "model.onnx", "int8": folder / "model.int8.onnx"}
    own = facts | tried.known_by(trained)
    answers = _write(model, files["float32"], files["int8"], own, params, seed)
    expected = {"float32": answers, "int8": answers}
    history: list[dict[str, float]] = []
    remove(folder / "student")
    if params.student:
        student, history = _distil(model, params.student, train, valid, seed)
        float32 = folder / "student" / "model.onnx"
        files["student"] = float32.with_name("model.int8.onnx")
        expected["student"] = _write(student, float32, files["student"], facts, params, seed)
    write_json(folder / "student" / "history.json", history)
    return files, expected


def _prepared() -> dict[str, str]:
    """What inspect noted of the pictures: their licence, and how they were brought to one shape."""
    noted = read_json(paths.INSPECTION)
    return {key: str(noted[key]) for key in ("licence", "fit", "frames", "bits") if noted[key]}


def _write(
    model: Classifier, float32: Path, int8: Path, facts: dict[str, str], params: Export, seed: int
) -> Probabilities:
    """Writes a model as two files, calibrated on valid and proven to be the model that was trained.

    Returns what the trained model answers to the first QUERIED images of valid.
    """
    train, valid = samples.read(paths.TRAIN), samples.read(paths.VALID)
    logits = inference.predict(model, valid, exact=True).double().numpy()
    calibrate = calibration.fit(logits, valid.labels)  # as evaluate has it
    onnx_export.to_onnx(model, float32, calibration=calibrate, facts=facts)
    answers = calibrate(logits[:QUERIED])
    written = onnx_model.load(float32).predict(valid.images[:QUERIED])
    difference = float(np.abs(answers - written).max())
    if not difference <= params.tolerance:
        raise UserError(
            f"{float32} differs from the trained model by {difference:.2g} in probability, "
            f"more than {params.tolerance:g}"
        )
    chosen = np.sort(generator(seed, "calibration").permutation(len(train))[: params.calibration])
    few = Samples(train.images[chosen], train.index.take(chosen), train.classes)
    onnx_export.quantise(float32, few, int8, enlarged=model.spec.factor)
    return answers


def _distil(
    teacher: Classifier, student: dict[str, Any], train: Samples, valid: Samples, seed: int
) -> tuple[Classifier, list[dict[str, float]]]:
    """A network that learns the teacher's probabilities, not labels (arXiv:1503.02531)."""
    own = check(Recipe, read_json(paths.ARTIFACTS / "train" / "recipe.json"), "artifacts/train")
    recipe = taught(own, student, "params.yaml: export.student")
    architecture = teacher.spec.architecture
    begun = loop.start(recipe, train, seed=derive(seed, "student"), architecture=architecture)
    begun.teacher = teacher.to(begun.machine.device)
    images = Mixture.of(recipe, train)
    fitted = loop.fit(begun, images, valid)
    history = [
        as_row(epoch) for epoch in track(fitted, recipe.epochs, "training the student", "epochs")
    ]
    return begun.outcome.cpu(), history


def _open(path: Path, valid: Samples) -> Model:
    """The model in a file that a clean process could use as well."""
    model, few = onnx_model.load(path), valid.images[:QUERIED]
    if not np.allclose(onnx_export.answers_alone(path, few), model.predict(few), atol=1e-4):
        fault = "answers otherwise in a process of its own than in this one"
        raise UserError(f"{path} {fault}; run `imagetrail export` again")
    return model


def _judge(
    files: dict[str, Path],
    opened: dict[str, Model],
    expected: dict[str, Probabilities],
    valid: Samples,
    test: Samples,
) -> list[dict[str, Any]]:
    """A row a file; differences are to float32 on the same images, positive where a file is better.

    `parity` is the largest difference to the probabilities `expected` of the network it is from.
    """
    rows: list[dict[str, Any]] = []
    right: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = {}
    for kind, path in files.items():
        probabilities = opened[kind].predict(test.images)
        answers = opened[kind].predict(valid.images)
        on_valid = answers.argmax(1) == valid.labels
        on_test = probabilities.argmax(1) == test.labels
        right[kind] = on_valid, on_test
        difference, low, high = significance.paired_interval(on_test, right["float32"][1])
        figures = {
            "top1": scores.top1(probabilities, test.labels),
            "log_loss": scores.log_loss(probabilities, test.labels),
            "top1_difference": difference,
            "top1_difference_low": low,
            "top1_difference_high": high,
            "parity": float(np.abs(expected[kind] - answers[:QUERIED]).max()),
            "valid_difference": float(on_valid.mean() - right["float32"][0].mean()),
        }
        rounded = {name: round(value, 6) for name, value in figures.items()}
        file = str(path.relative_to(files["float32"].parent))
        rows.append({"file": file, "format": kind, "bytes": path.stat().st_size, **rounded})
    return rows


def _choose(rows: list[dict[str, Any]], timing: dict[str, float], budget: Budget) -> str:
    """The format of the file that is shipped."""
    files = [
        File(
            name=row["format"],
            bytes=row["bytes"],
            ms=timing[f"{row['format']}_ms_batch1"],
            loss=-row["valid_difference"],
        )
        for row in rows
    ]
    return onnx_export.choose(files, budget).name


def _time(kind: str, path: Path, test: Samples) -> dict[str, float]:
    """Milliseconds by batch size and threads; `int8_ms_batch1` is the median on one thread."""
    found = {}
    for threads in THREADS:
        model = onnx_model.load(path, threads_a_batch=threads)
        for size in BATCHES:
            images = np.resize(test.images[:size], (size, *test.images.shape[1:]))
            name = f"{kind}_ms_batch{size}" + (f"_threads{threads}" if threads > 1 else "")
            found[name], found[f"{name}_p99"] = onnx_export.latency(model, images)
    return found


def _write_reference(path: Path, model: Model, valid: Samples, seed: int) -> None:
    """What the shipped file sees in usual images, not those of its training: the base of drift."""
    chosen = np.sort(generator(seed, "reference").permutation(len(valid))[:REFERENCE])
    probabilities, features = model.run(valid.images[chosen])
    counts = np.bincount(probabilities.argmax(1), minlength=len(valid.classes))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, features=features, counts=counts)


def _write_trained_on(path: Path, *parts: Samples) -> None:
    """Which images the model, or what chose it, has seen: by name, and by content.

    A file may have changed its name.
    """
    seen = [part.index.select(["id", "fingerprint"]) for part in parts]
    with replacing(path) as temporary:
        pq.write_table(pa.concat_tables(seen).combine_chunks(), temporary)


def _report(
    rows: list[dict[str, Any]], timing: dict[str, float], chosen: str, budget: Budget
) -> None:
    for row in rows:
        kind = row["format"]
        single, many = timing[f"{kind}_ms_batch1"], 256e3 / timing[f"{kind}_ms_batch256"]
        speed = f"{single:.2f} ms a picture, {many:,.0f} a second"
        mark = "  <- shipped" if kind == chosen else ""
        say(f"{kind:8s} top-1 {percent(row['top1'])}  {row['bytes'] / 1e6:.2f} MB  {speed}{mark}")
    for size in BATCHES:
        if timing[f"int8_ms_batch{size}"] > timing[f"float32_ms_batch{size}"]:
            say(f"int8 is smaller but slower than float32 on this machine, in batches of {size}")
    if budget.max_ms is not None:
        say("which file is shipped depends on this machine's clock: export.budget.max_ms is set")
