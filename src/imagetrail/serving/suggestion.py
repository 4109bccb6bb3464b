"""Which unlabelled pictures to label first: those that would teach a model most, none twice.

Uncertain and diverse at once, as BADGE has it (Ash et al. 2020, arXiv:1906.03671): a picture stands
for the gradient that its likeliest label would give the last layer, which is long where the model
is unsure and points elsewhere where the picture is another.
"""

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.rng import generator

Floats = NDArray[np.float32]


class Gradients:
    """Of n pictures, (p − likeliest) ⊗ features, which are n×K·D values and never written out."""

    def __init__(self, probabilities: NDArray[np.float64], features: Floats) -> None:
        """probabilities: n×K; features: n×D, what the last layer sees."""
        self._errors = probabilities.astype(np.float32)
        self._errors[np.arange(len(self._errors)), self._errors.argmax(1)] -= 1
        self._features = features
        self.norms = np.square(self._errors).sum(1) * np.square(features).sum(1)

    def distances(self, i: int) -> Floats:
        """Squared, of all to number i."""
        products = (self._errors @ self._errors[i]) * (self._features @ self._features[i])
        return np.maximum(self.norms + self.norms[i] - 2 * products, 0)


def rank_kmeans(probabilities, features, count, seed=0):
    g = Gradients(probabilities, features)
    rng = generator(seed, "suggest")
    chosen = [int(g.norms.argmax())]
    nearest = g.distances(chosen[0])
    while len(chosen) < min(count, len(features)):
        nearest[chosen] = 0
        total = nearest.sum(dtype=np.float64)
        if total <= 0:
            break
        i = int(rng.choice(len(features), p=nearest.astype(np.float64) / total))
        chosen.append(i)
        nearest = np.minimum(nearest, g.distances(i))
    return chosen


def rank_greedy(probabilities, features, count, power=1.0):
    g = Gradients(probabilities, features)
    chosen = [int(g.norms.argmax())]
    nearest = g.distances(chosen[0])
    while len(chosen) < min(count, len(features)):
        nearest[chosen] = -1
        i = int(nearest.argmax())
        chosen.append(i)
        nearest = np.minimum(nearest, g.distances(i))
    return chosen
