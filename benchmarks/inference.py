"""How fast the exported files answer, against Keras `predict` and eager PyTorch.

All of them answer with the article's network, read the 10,000 test images of Fashion-MNIST and use
all cores. Ours takes bytes and prepares them itself; Keras and PyTorch get prepared arrays. Keras
runs as the article has it, in batches of 32, and again in its best of two: 256. Ours is measured
before and after. Sizes and accuracies compare int8 (ours) with float32 (the peer).
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from harness import Figure, accuracy, arrays, figure, keras, load, write

from imagetrail.base.samples import Samples
from imagetrail.metrics import scores
from imagetrail.models.classifier import Classifier
from imagetrail.serving import onnx_model
from imagetrail.serving.onnx_model import Model
from imagetrail.stages.export import onnx_export
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import Recipe

REPEATS, SINGLES = 5, 200
CALIBRATION = 1000  # images for int8
MODELS = ("article", "fast")
FORMATS = ("float32", "int8")
UNITS = {"images_per_second": "images/s", "ms_batch1": "ms"}


def trained(model: str, train: Samples, test: Samples) -> Classifier:
    """After one epoch: good enough to see what int8 costs in accuracy."""
    recipe = Recipe(model=model, activation="relu", epochs=1, lr=0.1)
    begun = loop.start(recipe, train, seed=0)
    for _ in loop.fit(begun, Mixture(train), test):
        pass
    return begun.outcome.cpu().eval()


def rates(answer: Callable[[], object], images: int) -> list[float]:
    """Images a second of each repeat, after one that is not measured."""
    taken = []
    for _ in range(REPEATS + 1):
        before = time.perf_counter()
        answer()
        taken.append(time.perf_counter() - before)
    return [images / seconds for seconds in taken[1:]]


def singles(answer: Callable[[int], object]) -> list[float]:
    """Milliseconds of single pictures, the first tenth left out."""
    taken = []
    for number in range(SINGLES):
        before = time.perf_counter()
        answer(number)
        taken.append((time.perf_counter() - before) * 1000)
    return taken[SINGLES // 10 :]


def ours(model: Model, test: Samples) -> dict[str, list[float]]:
    return {
        "images_per_second": rates(lambda: model.predict(test.images), len(test)),
        "ms_batch1": singles(lambda number: model.predict(test.images[number : number + 1])),
    }


@torch.inference_mode()
def eager(model: Classifier, test: Samples) -> dict[str, list[float]]:
    images = torch.from_numpy(test.images).float()
    return {
        "images_per_second": rates(
            lambda: [model(batch).softmax(1) for batch in images.split(256)], len(test)
        ),
        "ms_batch1": singles(lambda number: model(images[number : number + 1]).softmax(1)),
    }


def exported(
    models: dict[str, Classifier], train: Samples, folder: Path
) -> dict[tuple[str, str], Path]:
    """The files of each model, by (model, format)."""
    few = Samples(train.images[:CALIBRATION], train.index[:CALIBRATION], train.classes)
    paths = {(name, kind): folder / f"{name}.{kind}.onnx" for name in models for kind in FORMATS}
    for name, model in models.items():
        onnx_export.to_onnx(model, paths[name, "float32"])
        onnx_export.quantise(paths[name, "float32"], few, paths[name, "int8"])
    return paths


def speed(
    files: dict[tuple[str, str], Model], models: dict[str, Classifier], test: Samples
) -> dict[str, Figure]:
    before = {key: ours(model, test) for key, model in files.items()}
    peer = keras(
        "article_keras_predict.py", str(arrays("fashion-mnist")), str(REPEATS), str(SINGLES)
    )
    plain = {name: eager(model, test) for name, model in models.items()}
    after = {key: ours(model, test) for key, model in files.items()}
    both = {key: {name: before[key][name] + after[key][name] for name in UNITS} for key in files}

    def against(key: tuple[str, str], name: str, theirs: list[float]) -> Figure:
        more = name == "images_per_second"
        return figure(both[key][name], theirs, UNITS[name], more_is_better=more, file=key[1])

    best = max(FORMATS, key=lambda kind: median(both["article", kind]["images_per_second"]))
    rate, batch256 = "images_per_second", "images_per_second_batch256"
    figures = {name: against(("article", best), name, peer[name]) for name in UNITS}
    figures[batch256] = against(("article", best), rate, peer[batch256])
    figures |= {
        f"{name}_{kind}": against(("article", kind), name, peer[name])
        for kind in FORMATS
        for name in UNITS
    }
    return figures | {
        f"{name}_{model}_{kind}_vs_torch": against((model, kind), name, plain[model][name])
        for model, kind in files
        for name in UNITS
    }


def main() -> None:
    train, test = load("fashion-mnist")
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory() as folder:
        models = {name: trained(name, train, test) for name in MODELS}
        paths = exported(models, train, Path(folder))
        files = {key: onnx_model.load(path) for key, path in paths.items()}
        figures |= speed(files, models, test)
        for name, key in (("fast", "int8"), ("article", "int8_article")):
            size = {kind: [paths[name, kind].stat().st_size] for kind in FORMATS}
            right = {
                kind: [scores.top1(files[name, kind].predict(test.images), test.labels)]
                for kind in FORMATS
            }
            figures[f"{key}_bytes"] = figure(size["int8"], size["float32"], "bytes")
            figures[f"{key}_top1"] = accuracy(right["int8"], right["float32"])
    write("inference", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    main()
