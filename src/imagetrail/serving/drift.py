"""Do new pictures look like those a model was made with? Permutation tests of its features and of its answers. No torch.

Both tests are exact: were the new pictures drawn like the reference, every way of dealing the two out again would be
equally likely, so each raises a false alarm with the probability it is given, and no more, whatever the features are.
That holds only against pictures that the network was not fitted to; hence the reference is taken from the valid split.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.errors import UserError, damaged, missing
from imagetrail.base.rng import generator
from imagetrail.serving import inputs
from imagetrail.serving.onnx_model import Model

MOST = 2000  # pictures of either side whose distances to one another are compared
FEWEST = 20  # with fewer, only gross drift could be seen
NEIGHBOURS = 5
COMPONENTS = (
    256  # directions of the feature space that count at most: those in which features vary most
)
DAMPING = 0.01  # of the mean variance: what varies less is not blown up
FAR = 0.99  # the share of the reference that is nearer than what counts as unusual
SHOWN = 40
COLUMNS = 500  # draws worked on at once

Features = NDArray[np.float32]  # n×D
Counts = NDArray[np.int64]  # pictures of each predicted class


@dataclass(frozen=True)
class Reference:
    """What the model makes of pictures like those it was trained on, but not seen in training."""

    features: Features
    counts: Counts


@dataclass(frozen=True)
class Finding:
    """What a test found."""

    effect: float  # 0: alike; 1: nothing in common
    p: float


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
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from None
    wide = model.features(np.zeros((1, *model.shape), np.uint8)).shape[1]
    if reference.features.shape[1:] != (wide,) or reference.counts.shape != (len(model.classes),):
        raise UserError(
            f"{path} is of another model: it has features {'×'.join(map(str, reference.features.shape))} and "
            f"{reference.counts.size} classes, and the model gives {wide} features and knows {len(model.classes)} classes"
        )
    if len(reference.features) <= NEIGHBOURS or not np.isfinite(reference.features).all():
        raise UserError(
            f"{path}: too few or infinite features; write it again with `imagetrail export`"
        )
    return reference


def reference_of(model: Path) -> Path:
    """Where the reference of an ONNX file is: beside it, or beside its folder, as export has it for a student."""
    places = [folder / "reference.npz" for folder in model.parents[:2]]
    return next((place for place in places if place.exists()), places[0])


def look(model: Model, reference: Reference, files: Sequence[str], *, seed: int = 0) -> Seen:
    """Runs all pictures through the model, in bounded memory. Raises UserError if too few can be read."""
    rng = generator(seed, "drift", "sample")
    seen, distances, faults = list[str](), list[NDArray[np.float64]](), list[tuple[str, str]]()
    counts, sample, keys = (
        np.zeros(len(model.classes), np.int64),
        reference.features[:0],
        np.empty(0),
    )
    for batch in inputs.batches(files, model.shape):
        probabilities, features = model.run(batch.images)
        counts += np.bincount(probabilities.argmax(1), minlength=len(counts))
        distances.append(nearest(features, reference.features))
        keys = np.concatenate([keys, rng.random(len(features))])
        kept = np.argsort(keys)[
            :MOST
        ]  # those with the least keys so far: at the end, each had the same chance
        sample, keys = np.concatenate([sample, features])[kept], keys[kept]
        seen += batch.files
        faults += batch.faults
    if len(seen) < FEWEST:
        raise UserError(
            f"{len(seen)} pictures can be read; drift can be told from {FEWEST} or more"
        )
    return Seen(seen, np.concatenate(distances), counts, sample, faults)


def judge(reference: Reference, seen: Seen, *, alpha: float, seed: int = 0) -> dict[str, Any]:
    """The verdict and its figures; undrifted pictures are called drifted with a probability of at most `alpha`.

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
        f"{found['verdict']}: p = {found['p']:.4g} (drift at {found['alpha']:g} or less: the chance of a false alarm)",
        f"features  p {features['p']:.4g}, energy coefficient {features['energy']:.4f} (0 alike, 1 nothing in common), "
        f"{features['n']:,} pictures against {found['reference']:,}",
        f"classes   p {classes['p']:.4g}, {classes['total_variation']:.1%} of the pictures in other classes than usual",
        f"unusual   {unusual['share']:.1%} of {found['n']:,} pictures, where {unusual['expected']:.0%} is usual",
    ]


def most_unusual(seen: Seen, count: int = SHOWN) -> list[tuple[str, float]]:
    """The pictures farthest from the reference, with their distances."""
    order = np.argsort(-seen.distances, kind="stable")[:count]
    return [(seen.files[i], float(seen.distances[i])) for i in order]


def whitening(features: Features) -> Callable[[Features], Features]:
    """What turns features into coordinates that do not correlate and vary alike.

    A small change in a direction in which features hardly vary says more than one that drowns in their variance: on
    digits, noise that 200 pictures did not show without this is shown by 50.
    """
    middle, wide = features.mean(0), features.shape[1]
    count = min(
        COMPONENTS, wide, max(1, len(features) // 4)
    )  # with more, every picture would be as far as any other
    spread = (features - middle).T @ (features - middle) / len(features)
    basis = generator(0, "drift", "basis").normal(size=(wide, count)).astype(np.float32)
    for _ in range(
        5
    ):  # subspace iteration; all eigenvectors of a wide network's features would take half a minute
        basis = np.linalg.qr(spread @ basis)[0]
    variances, turn = np.linalg.eigh(basis.T @ spread @ basis)
    scale = np.sqrt(np.maximum(variances, 0) + DAMPING * spread.trace() / wide + 1e-12)
    turned = (basis @ turn / scale).astype(np.float32)
    return lambda rows: np.asarray((rows - middle) @ turned, np.float32)


def energy_test(
    reference: Features, new: Features, *, draws: int, rng: np.random.Generator
) -> Finding:
    """Whether two samples have one distribution, by the energy distance (Székely and Rizzo, 2013) after whitening.

    The effect is the energy coefficient: 0 for one distribution, 1 for two that are far apart.
    """
    pooled = np.concatenate([reference, new])
    pooled = whitening(pooled)(
        pooled
    )  # of both together: it does not know which is which, so the test remains exact
    between = _distances(pooled, pooled)
    m, n, sums = len(reference), len(new), between.sum(1, dtype=np.float64)

    def energy(dealt: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The statistic, and the mean distance across, for each column: 1 for what counts as new, else 0."""
        within_new = np.einsum("ij,ij->j", dealt, between @ dealt, dtype=np.float64)
        from_new = sums @ dealt
        across = 2 * (from_new - within_new) / (m * n)
        return across - within_new / n**2 - (sums.sum() - 2 * from_new + within_new) / m**2, across

    real = np.zeros((m + n, 1), np.float32)
    real[m:] = 1
    statistic, across = energy(real)
    found = [statistic]
    for start in range(0, draws, COLUMNS):
        dealt = np.repeat(real, min(COLUMNS, draws - start), 1)
        found.append(energy(rng.permuted(dealt, axis=0))[0])
    return Finding(float(statistic[0] / max(across[0], 1e-30)), _p(np.concatenate(found)))


def balance_test(
    reference: Counts, new: Counts, *, draws: int, rng: np.random.Generator
) -> Finding:
    """Whether classes are predicted equally often in two samples: Pearson's chi-square, with a permutation p-value.

    The effect is the total variation distance: the share of pictures that would have to change class.
    """
    total, n = reference + new, int(new.sum())
    expected = np.maximum(total * (n / total.sum()), 1e-30)
    dealt = np.concatenate(
        [new[None], rng.multivariate_hypergeometric(total, n, draws, method="marginals")]
    )
    statistic = ((dealt - expected) ** 2 / expected).sum(
        1
    )  # the reference's part of it is in proportion
    return Finding(float(np.abs(new / n - reference / reference.sum()).sum() / 2), _p(statistic))


def _p(statistic: NDArray[np.float64]) -> float:
    """The share of draws at least as large as the first, which counts itself (Phipson and Smyth, 2010, arXiv:1603.05766)."""
    return float(
        (statistic >= statistic[0] - 1e-9 * abs(statistic[0])).mean()
    )  # ties, though rounding may part them


def nearest(features: Features, reference: Features, *, same: bool = False) -> NDArray[np.float64]:
    """The mean distance of each row to its nearest few of the reference; `same`: it is one of them itself."""
    between = _distances(features, reference)
    few = np.partition(between, NEIGHBOURS - 1 + same, 1)[:, : NEIGHBOURS + same]
    mean: NDArray[np.float64] = few.sum(1, dtype=np.float64) / NEIGHBOURS
    return mean  # its distance to itself is 0


def _distances(left: Features, right: Features) -> NDArray[np.float32]:
    """Euclidean, between every two rows."""
    if not len(left):
        return np.empty((0, len(right)), np.float32)
    middle = right.mean(0)  # smaller numbers, smaller rounding errors
    left, right = left - middle, right - middle
    squares = np.square(left).sum(1)[:, None] + np.square(right).sum(1)[None] - 2 * left @ right.T
    distances: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0))
    return distances
