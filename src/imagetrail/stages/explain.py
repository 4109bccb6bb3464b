"""Show where the model looks, and check that it matters. Reads the model and test, writes artifacts/explain."""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from imagetrail import explanation, layout, models, plots, samples
from imagetrail.files import replacing, write_json
from imagetrail.models import Classifier
from imagetrail.params import Section, load
from imagetrail.rng import derive
from imagetrail.samples import Samples


class Explain(Section):
    """The `explain` section."""

    per_class: int = Field(ge=1)  # test pictures explained for each class
    share: float = Field(gt=0, lt=1)  # of the pixels erased in the check


def run() -> dict[str, float]:
    params, seed = load(Explain, "explain"), load(int, "seed")
    model, test = models.load(layout.ARTIFACTS / "train"), samples.read(layout.TEST)
    chosen = np.concatenate([np.flatnonzero(test.labels == label)[: params.per_class] for label in range(len(test.classes))])
    images = torch.from_numpy(test.images[chosen])
    with torch.no_grad():
        predicted = model(images).argmax(1)
    maps = {name: method(model, images, predicted) for name, method in explanation.METHODS.items()}
    found = {name: saliency for name, saliency in maps.items() if saliency is not None}
    folder = layout.artifacts("explain")
    for name, saliency in found.items():
        with replacing(folder / "maps" / f"{name}.png") as temporary:
            plots.saliency(images.numpy(), saliency.numpy(), _titles(test, chosen, predicted), temporary)
    scores = _scores(model, images, predicted, found, params.share, seed)
    write_json(folder / "scores.json", scores)
    print(f"probability lost when {params.share:.0%} of the pixels are erased: {scores}")
    return {"images": len(images)}


def _titles(test: Samples, chosen: NDArray[np.int64], predicted: torch.Tensor) -> list[str]:
    names = test.classes
    return [
        names[guess] if guess == label else f"{names[guess]}, not {names[label]}"
        for guess, label in zip(predicted.tolist(), test.labels[chosen].tolist(), strict=True)
    ]


def _scores(
    model: Classifier, images: torch.Tensor, targets: torch.Tensor, maps: dict[str, torch.Tensor], share: float, seed: int
) -> dict[str, float]:
    """The fall in probability when the pixels a method points at are erased, and when as many at random are."""
    rng = torch.Generator().manual_seed(derive(seed, "explain"))
    chance = torch.rand(images.shape[:3], generator=rng)
    drops = {**maps, "random": chance}
    return {
        f"{name}_drop": round(explanation.deletion_drop(model, images, targets, saliency, share), 6)
        for name, saliency in drops.items()
    }
