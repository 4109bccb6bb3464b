"""Two-sample tests: were two sets of pictures drawn alike? Exact permutation tests, numpy alone.

Drawn alike, every way of dealing the two out again is equally likely, so a test raises a false
alarm with the probability it is given, and no more, whatever the features are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.rng import generator

NEIGHBOURS = 5
COMPONENTS = 256  # directions of the feature space that count: those in which features vary most
DAMPING = 0.01  # of the mean variance: what varies less is not blown up
COLUMNS = 500  # draws worked on at once

Features = NDArray[np.float32]  # n×D
Counts = NDArray[np.int64]  # pictures of each predicted class


@dataclass(frozen=True)
class Result:
    effect: float  # 0: alike; 1: nothing in common
    p: float


def whitening(features: Features) -> Callable[[Features], Features]:
    """What turns features into coordinates that do not correlate and vary alike.

    A small change in a direction in which features hardly vary weighs more than one that drowns in
    their variance: on digits, noise that 200 pictures did not show without this is shown by 50.
    """
    middle, wide = features.mean(0), features.shape[1]
    # With more components than that, every picture would be as far as any other.
    count = min(COMPONENTS, wide, max(1, len(features) // 4))
    spread = (features - middle).T @ (features - middle) / len(features)
    basis = generator(0, "drift", "basis").normal(size=(wide, count)).astype(np.float32)
    # Subspace iteration: all eigenvectors of a wide network's features would take half a minute.
    for _ in range(5):
        basis = np.linalg.qr(spread @ basis)[0]
    variances, turn = np.linalg.eigh(basis.T @ spread @ basis)
    scale = np.sqrt(np.maximum(variances, 0) + DAMPING * spread.trace() / wide + 1e-12)
    turned = (basis @ turn / scale).astype(np.float32)
    return lambda rows: np.asarray((rows - middle) @ turned, np.float32)


def energy_test(
    reference: Features, new: Features, *, draws: int, rng: np.random.Generator
) -> Result:
    """Whether two samples have one distribution, by the energy distance after whitening.

    Székely and Rizzo, 2013. The effect is the energy coefficient: 0 for one distribution, 1 for two
    that are far apart.
    """
    pooled = np.concatenate([reference, new])
    pooled = whitening(pooled)(pooled)  # does not know which is which, so the test remains exact
    between = _distances(pooled, pooled)
    m, n, sums = len(reference), len(new), between.sum(1, dtype=np.float64)

    def energy(dealt: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The statistic, and the mean distance across, of each column (1: new, 0: reference)."""
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
    return Result(float(statistic[0] / max(across[0], 1e-30)), _p(np.concatenate(found)))


def balance_test(reference: Counts, new: Counts, *, draws: int, rng: np.random.Generator) -> Result:
    """Whether classes are predicted equally often in two samples: Pearson's chi-square, permuted.

    The effect is the total variation distance: the share of pictures that would have to change
    class.
    """
    total, n = reference + new, int(new.sum())
    expected = np.maximum(total * (n / total.sum()), 1e-30)
    dealt = np.concatenate(
        [new[None], rng.multivariate_hypergeometric(total, n, draws, method="marginals")]
    )
    statistic = ((dealt - expected) ** 2 / expected).sum(1)  # the reference's part is in proportion
    return Result(float(np.abs(new / n - reference / reference.sum()).sum() / 2), _p(statistic))


def _p(statistic: NDArray[np.float64]) -> float:
    """The share of draws at least as large as the first, which counts itself (arXiv:1603.05766)."""
    tie = 1e-9 * abs(statistic[0])  # though rounding may part them
    return float((statistic >= statistic[0] - tie).mean())


def nearest(features: Features, reference: Features, *, same: bool = False) -> NDArray[np.float64]:
    """The mean distance of each row to its nearest few; `same`: it is in the reference itself."""
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
