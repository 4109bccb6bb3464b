"""Show where the model looks, and check that it matters.

Reads the model and test, writes artifacts/explain.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from imagetrail.base import paths, samples
from imagetrail.base.files import replacing, write_json
from imagetrail.base.params import load
from imagetrail.base.samples import Samples
from imagetrail.base.terminal import say
from imagetrail.base.words import percent
from imagetrail.models import weights
from imagetrail.models.classifier import Classifier
from imagetrail.plots import charts
from imagetrail.stages.explain import attribution
from imagetrail.stages.explain.params import Explain


def run() -> dict[str, float]:
    params = load(Explain, "explain")
    model, test = weights.load(paths.ARTIFACTS / "train"), samples.read(paths.TEST)
    by_class = [np.flatnonzero(test.labels == label) for label in range(len(test.classes))]
    chosen = np.concatenate([numbers[: params.per_class] for numbers in by_class])
    images = torch.from_numpy(test.images[chosen])
    with torch.no_grad():
        predicted = model(images).argmax(1)
    maps = {name: method(model, images, predicted) for name, method in attribution.METHODS.items()}
    found = {name: saliency for name, saliency in maps.items() if saliency is not None}
    for name in maps.keys() - found.keys():
        say(f"{name}: no map: no layer of {model.spec.model} keeps to the picture's places")
    folder = paths.artifacts("explain")
    for name, saliency in found.items():
        with replacing(folder / "maps" / f"{name}.png") as temporary:
            charts.saliency(
                images.numpy(), saliency.numpy(), _titles(test, chosen, predicted), temporary
            )
    scores = _scores(model, images, predicted, found, params)
    write_json(folder / "scores.json", scores)
    for name in found:
        drop, other = scores[f"{name}_drop"], scores[f"{name}_other_drop"]
        say(
            f"{name}: erasing {percent(params.share, 0)} of the pixels costs {percent(drop, 1)}, "
            f"by another picture's map {percent(other, 1)}"
        )
    return {"images": len(images)}


def _titles(test: Samples, chosen: NDArray[np.int64], predicted: torch.Tensor) -> list[str]:
    names = test.classes
    return [
        names[guess] if guess == label else f"{names[guess]}, not {names[label]}"
        for guess, label in zip(predicted.tolist(), test.labels[chosen].tolist(), strict=True)
    ]


def _scores(
    model: Classifier,
    images: torch.Tensor,
    targets: torch.Tensor,
    maps: dict[str, torch.Tensor],
    params: Explain,
) -> dict[str, float]:
    """The fall in probability when the pixels that a method points at are erased.

    Beside it that by another picture's map. A map of another class is the fair rival: it has the
    same texture, and lacks only what is true of this picture.
    """
    scores = {"share": params.share}
    for name, saliency in maps.items():
        for kind, used in (("drop", saliency), ("other_drop", saliency.roll(params.per_class, 0))):
            scores[f"{name}_{kind}"] = round(
                attribution.deletion_drop(model, images, targets, used, params.share), 6
            )
    return scores
