"""Do new pictures look like those a model was made with? Tests of its features and of its answers.

The tests are exact only against pictures that the network was not fitted to; hence the reference is
taken from the valid split.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.errors import UserError, damaged, missing
from imagetrail.base.rng import generator
from imagetrail.base.words import count_of, percent
from imagetrail.serving import inputs
from imagetrail.serving.onnx_model import Model
from imagetrail.serving.two_sample import (
    NEIGHBOURS,
    Counts,
    Features,
    balance_test,
    energy_test,
    nearest,
)

MOST = 2000  # pictures of either side whose distances to one another are compared
FEWEST = 20  # with fewer, only gross drift could be seen
FAR = 0.99  # the share of the reference that is nearer than what counts as unusual
SHOWN = 40


@dataclass(frozen=True)
class Reference:
    """What the model makes of pictures like those it was trained on, but not seen in training."""

    features: Features
    counts: Counts


@dataclass(frozen=True)
class Seen:
    """What the model makes of the new pictures."""

    files: list[str]
    distances: NDArray[np.float64]  # of each to the reference
    counts: Counts
    features: Features  # of MOST of them at most, drawn at random
    faults: list[tuple[str, str]]  # files that are no pictures, and why


def read_reference(path: Path, model: Model) -> Reference:
    """Raises UserError if the file is missing, damaged or of another model."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            reference = Reference(
                arrays["features"].astype(np.float32), arrays["counts"].astype(np.int64)
            )
    except FileNotFoundError:
        raise missing(path) from None
    except (EOFError, KeyError, TokenError, ValueError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from None
    wide = model.features(np.zeros((1, *model.shape), np.uint8)).shape[1]
    if reference.features.shape[1:] != (wide,) or reference.counts.shape != (len(model.classes),):
        shape = "×".join(map(str, reference.features.shape))
        raise UserError(
            f"{path} is of another model: it has features {shape} and "
            f"{reference.counts.size} classes, "
            f"and the model gives {wide} features and knows {len(model.classes)} classes"
        )
    if len(reference.features) <= NEIGHBOURS or not np.isfinite(reference.features).all():
        raise UserError(
            f"{path}: too few or infinite features; write it again with `imagetrail export`"
        )
    return reference


def reference_of(model: Path) -> Path:
    """Where a model's reference is: beside its file or, of a student, beside its folder."""
    places = [folder / "reference.npz" for folder in model.parents[:2]]
    return next((place for place in places if place.exists()), places[0])


def look(model: Model, reference: Reference, files: Sequence[str], *, seed: int = 0) -> Seen:
    """Runs all pictures through the model, in bounded memory; raises UserError if too few."""
    rng = generator(seed, "drift", "sample")
    seen, distances, faults = list[str](), list[NDArray[np.float64]](), list[tuple[str, str]]()
    counts = np.zeros(len(model.classes), np.int64)
    sample, keys = reference.features[:0], np.empty(0)
    for batch in inputs.batches(files, inputs.target_of(model)):
        probabilities, features = model.run(batch.images)
        counts += np.bincount(probabilities.argmax(1), minlength=len(counts))
        distances.append(nearest(features, reference.features))
        keys = np.concatenate([keys, rng.random(len(features))])
        kept = np.argsort(keys)[:MOST]  # the least keys so far: each picture has the same chance
        sample, keys = np.concatenate([sample, features])[kept], keys[kept]
        seen += batch.files
        faults += batch.faults
    if len(seen) < FEWEST:
        some = count_of(len(seen), "picture")
        raise UserError(f"{some} can be read; drift needs {FEWEST} or more")
    return Seen(seen, np.concatenate(distances), counts, sample, faults)


def judge(reference: Reference, seen: Seen, *, alpha: float, seed: int = 0) -> dict[str, Any]:
    """The verdict and its figures; a false alarm has a probability of at most `alpha`.

    Two tests share that (Bonferroni): each p-value is doubled before it is compared with alpha.
    """
    draws = max(1000, round(10 / alpha)) - 1  # the least p-value is 1 / (draws + 1)
    features = energy_test(
        reference.features[:MOST],
        seen.features,
        draws=draws,
        rng=generator(seed, "drift", "features"),
    )
    classes = balance_test(
        reference.counts, seen.counts, draws=draws, rng=generator(seed, "drift", "classes")
    )
    p = min(1.0, 2 * min(features.p, classes.p))
    usual = nearest(reference.features, reference.features, same=True)
    bound = float(np.quantile(usual, FAR))
    return {
        "verdict": "drift" if p <= alpha else "no drift",
        "alpha": alpha,
        "p": round(p, 6),
        "n": len(seen.files),
        "reference": len(reference.features),
        "unreadable": len(seen.faults),
        "features": {
            "p": round(features.p, 6),
            "energy": round(features.effect, 6),
            "n": len(seen.features),
        },
        "classes": {"p": round(classes.p, 6), "total_variation": round(classes.effect, 6)},
        "unusual": {
            "share": round(float((seen.distances > bound).mean()), 6),
            "expected": round(1 - FAR, 6),
            "beyond": bound,
        },
    }


def summary(found: dict[str, Any]) -> list[str]:
    """The verdict in words."""
    features, classes, unusual = found["features"], found["classes"], found["unusual"]
    return [
        f"{found['verdict']}: p = {found['p']:.4g} "
        f"(drift at {found['alpha']:g} or less: the chance of a false alarm)",
        f"features  p {features['p']:.4g}, energy coefficient {features['energy']:.4f} "
        f"(0 alike, 1 nothing in common), "
        f"{features['n']:,} pictures against {found['reference']:,}",
        f"classes   p {classes['p']:.4g}, "
        f"{percent(classes['total_variation'], 1)} of the pictures in other classes than usual",
        f"unusual   {percent(unusual['share'], 1)} of {found['n']:,} pictures, "
        f"where {percent(unusual['expected'], 0)} is usual",
    ]


def most_unusual(seen: Seen, count: int = SHOWN) -> list[tuple[str, float]]:
    """The pictures farthest from the reference, with their distances."""
    order = np.argsort(-seen.distances, kind="stable")[:count]
    return [(seen.files[i], float(seen.distances[i])) for i in order]
