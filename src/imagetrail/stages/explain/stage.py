"""Show where the model looks, by methods that pass a test, and what it leans on.

Reads the model, test, evaluate's answers and train (for what is like a mistake); writes
artifacts/explain.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagetrail.base import paths, rng, samples
from imagetrail.base.files import replacing, write_csv, write_json
from imagetrail.base.params import load
from imagetrail.base.samples import Images, Samples
from imagetrail.base.terminal import say
from imagetrail.models import weights
from imagetrail.models.classifier import Classifier
from imagetrail.plots import charts
from imagetrail.serving import tried
from imagetrail.stages.explain import attribution, judgement, prototypes, shortcuts, trial
from imagetrail.stages.explain.attribution import METHODS
from imagetrail.stages.explain.judgement import Finding
from imagetrail.stages.explain.params import Explain

ANSWERS = paths.ARTIFACTS / "evaluate" / "predictions.parquet"
MORE = 10  # times the pictures of the trial are those of the shortcut check
SHOWN = 10  # classes, at most: of more, those with most mistakes, or a mean map of most pictures
FEW = 3  # pictures: a mean of fewer is none


def run() -> dict[str, float]:
    params, seed = load(Explain, "explain"), load(int, "seed")
    trained = paths.ARTIFACTS / "train"
    model, test = weights.load(trained), samples.read(paths.TEST)
    order = rng.generator(seed, "explain").permutation(len(test))
    sample = torch.from_numpy(test.gather(order[: params.pictures]))
    begun = trial.begin(model, sample, seed)
    found = judgement.hold(begun)
    _tell(model, found)
    passed = [name for name, finding in found.items() if finding.figures["passed"]]
    maps = {name: found[name].maps for name in passed}
    folder = paths.artifacts("explain") / "maps"
    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        _draw(model, test, passed, params.per_class, temporary)
        if passed:
            _draw_means(test.classes, begun, maps[passed[0]], temporary / "means.png")
        searched = _draw_mistakes(model, test, passed[:1], seed, temporary)
    many = order[: MORE * params.pictures]
    checked = shortcuts.check(test.gather(many), partial(_right, model, test.labels[many]))
    scores = tried.known_by(trained) | {
        "method": passed[0] if passed else None,
        "pictures": len(sample),
        "shares": trial.SHARES,
        "alike": judgement.ALIKE,
        "methods": {name: finding.figures for name, finding in found.items()},
        "agreement": judgement.agreement(maps),
        "train_searched": searched,
        "shortcut_pictures": len(many),
        "shortcuts": checked,
    }
    write_json(folder.parent / "scores.json", scores)
    curves = [row for finding in found.values() for row in finding.rows]
    write_csv(folder.parent / "curves.csv", curves, columns=judgement.COLUMNS)
    return {"images": len(sample)}


def _tell(model: Classifier, found: dict[str, Finding]) -> None:
    for name in (name for name in METHODS if name not in found):
        say(f"{name}: no map: no layer of {model.spec.model} keeps to the picture's places")
    for name, figures in ((name, finding.figures) for name, finding in found.items()):
        over = ", ".join(
            f"{kind} {100 * figures[f'{kind}_over_other']:+.1f} points over another picture's map "
            f"(from {100 * figures[f'{kind}_over_other_low']:+.1f})"
            for kind in trial.KINDS
        )
        said = "passed" if figures["passed"] else "failed"
        say(f"{name}: {said} on {figures['pictures']} pictures: {over}")


def _draw(
    model: Classifier, test: Samples, passed: list[str], per_class: int, folder: Path
) -> None:
    """A sheet a method that passed: the first test pictures of classes under their maps."""
    wrong = prototypes.mistakes(ANSWERS)
    missed = np.bincount(test.labels[wrong], minlength=len(test.classes))
    shown = np.sort(np.argsort(-missed, kind="stable")[:SHOWN])
    chosen = np.concatenate([np.flatnonzero(test.labels == k)[:per_class] for k in shown])
    for name in passed:
        _sheet(model, test, chosen, name, folder / f"{name}.png")


def _sheet(
    model: Classifier, test: Samples, chosen: NDArray[np.int64], name: str, path: Path
) -> None:
    images = torch.from_numpy(test.gather(chosen))
    predicted = attribution.probabilities(model, images).argmax(1)
    maps = attribution.maps(name, model, images, predicted)
    assert maps is not None
    titles = _titles(test, chosen, predicted)
    charts.saliency(images.numpy(), scaled(maps).numpy(), titles, path)


def _draw_mistakes(
    model: Classifier, test: Samples, methods: list[str], seed: int, folder: Path
) -> int:
    """The surest mistakes with their maps, and beside the training pictures nearest to them.

    Gives how many training pictures were searched.
    """
    train = samples.read(paths.TRAIN)
    wrong = prototypes.surest_mistakes(ANSWERS, test.classes)
    if not len(wrong):
        return 0
    for name in methods:
        _sheet(model, test, wrong, name, folder / "mistakes.png")
    images, stream = test.gather(wrong), rng.generator(seed, "explain", "train")
    found, searched = prototypes.beside(model, images, train, stream)
    predicted = attribution.probabilities(model, torch.from_numpy(images)).argmax(1)
    titles = _titles(test, wrong, predicted)
    shown, captions = [], []
    for image, title, rows in zip(images, titles, found, strict=True):
        shown += [image, *train.gather(np.array(rows))]
        captions += [title, *(test.classes[label] for label in train.labels[rows])]
    path = folder / "prototypes.png"
    charts.gallery(shown, captions, path, columns=prototypes.BESIDE + 1)
    return searched


def _draw_means(classes: tuple[str, ...], begun: trial.Trial, maps: Tensor, path: Path) -> None:
    """The mean map over the pictures that are taken for a class, for the classes with the most."""
    counts = torch.bincount(begun.targets, minlength=len(classes))
    most = counts.argsort(descending=True, stable=True)[:SHOWN].tolist()
    shown = sorted(label for label in most if counts[label] >= FEW)
    if not shown:
        return
    groups = [begun.targets == label for label in shown]
    pictures = torch.stack([begun.images[group].float().mean(0) for group in groups])
    means = torch.stack([scaled(maps)[group].mean(0) for group in groups])
    titles = [f"{classes[label]} ({counts[label]})" for label in shown]
    charts.saliency(pictures.byte().numpy(), scaled(means).numpy(), titles, path)


def scaled(maps: Tensor) -> Tensor:
    """Maps N×H×W from 0, where nothing speaks for the class, to 1, where the most does."""
    top = maps.flatten(1).amax(1).clamp_min(1e-12)
    return maps.relu() / top[:, None, None]


def _titles(test: Samples, chosen: NDArray[np.int64], predicted: Tensor) -> list[str]:
    names = test.classes
    return [
        names[label] + (f" {charts.ARROW} {names[guess]}" if guess != label else "")
        for guess, label in zip(predicted.tolist(), test.labels[chosen].tolist(), strict=True)
    ]


def _right(model: Classifier, labels: NDArray[np.int64], images: Images) -> NDArray[np.bool_]:
    found = attribution.probabilities(model, torch.from_numpy(images)).argmax(1).numpy()
    return np.asarray(found == labels, np.bool_)
