"""Which unlabelled pictures to label first: those that would teach a model most, none twice.

Uncertain and diverse at once, as BADGE has it (Ash et al. 2020, arXiv:1906.03671): a picture stands
for the gradient that its likeliest label would give the last layer, which is long where the model
is unsure, and points elsewhere where the picture is another. Pictures are drawn as k-means++ draws
its centres, so that any first ones of the ranking are a good choice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imagetrail.base.rng import generator
from imagetrail.serving.inputs import Batch
from imagetrail.serving.onnx_model import Model

MOST = 20_000  # pictures that are compared with one another: of more, the least certain
ALIKE = 0.01  # of a gradient's squared length: nearer to a chosen one, a picture is no other

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Suggestion:
    """A picture that is worth a label, and what the model takes it for."""

    file: str
    label: str
    probability: float  # calibrated


@dataclass
class Candidates:
    """What the model makes of the pictures that it is least sure of, MOST at most."""

    files: list[str] = field(default_factory=list)
    probabilities: list[NDArray[np.float64]] = field(default_factory=list)  # each K
    features: list[Floats] = field(default_factory=list)  # each D

    def add(self, batch: Batch, model: Model) -> None:
        probabilities, features = model.run(batch.images)
        self.files += batch.files
        self.probabilities += list(probabilities)
        self.features += list(features)
        if len(self.files) >= 2 * MOST:
            self.trim()

    def trim(self) -> None:
        """Lets go of all but the MOST whose two likeliest classes are closest, in their order."""
        if len(self.files) <= MOST:
            return
        ranked = np.sort(self.probabilities, 1)
        kept = np.sort(np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")[:MOST]).tolist()
        self.files = [self.files[i] for i in kept]
        self.probabilities = [self.probabilities[i] for i in kept]
        self.features = [self.features[i] for i in kept]


def suggest(model: Model, batches: Iterable[Batch], *, count: int) -> Iterator[Suggestion]:
    """The `count` pictures that would teach the model most, or fewer if the others are alike."""
    seen = Candidates()
    for batch in batches:
        seen.add(batch, model)
    seen.trim()
    if not seen.files:
        return
    probabilities = np.stack(seen.probabilities)
    for i in rank(probabilities, np.stack(seen.features), count=count):
        best = int(probabilities[i].argmax())
        yield Suggestion(seen.files[i], model.classes[best], float(probabilities[i, best]))


def rank(probabilities: NDArray[np.float64], features: Floats, *, count: int) -> list[int]:
    """Numbers of pictures, at most `count`, what teaches most first.

    probabilities: n×K; features: n×D, what the last layer sees. The same pictures give the same.
    """
    gradients = Gradients(probabilities, features)
    rng = generator(0, "suggest")
    chosen = [int(gradients.lengths.argmax())]
    nearest = gradients.lengths.astype(np.float64)
    while len(chosen) < count:
        distances = gradients.distances(chosen[-1])
        distances[distances < ALIKE * gradients.lengths] = 0
        nearest = np.minimum(nearest, distances)
        nearest[chosen[-1]] = 0
        if not nearest.any():
            break
        chosen.append(int(rng.choice(len(nearest), p=nearest / nearest.sum())))
    return chosen


class Gradients:
    """Of n pictures, (p − its likeliest label) ⊗ features: K·D values, which are not written out.

    Features have length 1, or a bright picture would count for more than one that is not
    understood.
    """

    def __init__(self, probabilities: NDArray[np.float64], features: Floats) -> None:
        self._errors = probabilities.astype(np.float32)
        self._errors[np.arange(len(self._errors)), probabilities.argmax(1)] -= 1
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        self._features = features / np.maximum(norms, np.finfo(np.float32).tiny)
        self.lengths = np.square(self._errors).sum(1)  # squared

    def distances(self, i: int) -> Floats:
        """Squared, of all to number i."""
        products = (self._errors @ self._errors[i]) * (self._features @ self._features[i])
        found: Floats = np.maximum(self.lengths + self.lengths[i] - 2 * products, 0)
        return found
