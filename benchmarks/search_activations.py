"""The activations by a short training each: what search.py reports below its searches."""

from statistics import mean, stdev
from typing import Any

from harness import accuracy
from search_sides import RECIPE, data

from imagetrail.compute import parallel
from imagetrail.models.activations import ACTIVATIONS
from imagetrail.training import loop
from imagetrail.training.batches import Mixture

SEEDS, EPOCHS, IMAGES = 5, 4, 3000  # of an activation: trainings, and epochs and images of each


def short(job: tuple[str, str, int]) -> float:
    """The accuracy of an activation after a short training."""
    name, activation, seed = job
    train, valid = data(name, IMAGES)
    changes = {
        "activation": activation,
        "epochs": EPOCHS,
        "batch_size": 128,
        "flip": name == "fashion-mnist",
    }
    recipe = RECIPE.model_copy(update=changes)
    *_, last = loop.fit(loop.start(recipe, train, seed=seed), Mixture(train), valid)
    return last.valid_top1


def activations() -> tuple[dict[str, Any], str]:
    """The best against relu, and a table of all."""
    names = ("fashion-mnist", "mnist")
    jobs = [
        (name, activation, seed)
        for name in names
        for activation in ACTIVATIONS
        for seed in range(SEEDS)
    ]
    top1 = dict(zip(jobs, parallel.map(short, jobs), strict=True))
    scores = {
        name: {kind: [top1[name, kind, seed] for seed in range(SEEDS)] for kind in ACTIVATIONS}
        for name in names
    }
    best = {name: max(ACTIVATIONS, key=lambda kind: mean(scores[name][kind])) for name in names}
    ranked = sorted(ACTIVATIONS, key=lambda kind: -mean(mean(scores[name][kind]) for name in names))
    rows = [f"| activation | {' | '.join(names)} |", "|---|---|---|"]
    for kind in ranked:
        found = [scores[name][kind] for name in names]
        cells = [f"{mean(values):.2%} ± {stdev(values):.2%}" for values in found]
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    figures = {
        f"activations-{name}": accuracy(
            scores[name][best[name]], scores[name]["relu"], best=best[name], all=scores[name]
        )
        for name in names
    }
    return figures, "\n".join(rows)
