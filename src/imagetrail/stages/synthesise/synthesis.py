"""New images of a class by a method's name: drawn, sifted and judged.

The judges are classifiers that had no part in the making.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imagetrail.base import samples
from imagetrail.base.rng import derive, generator
from imagetrail.base.samples import Images, Samples
from imagetrail.metrics import scores
from imagetrail.models import inference
from imagetrail.models.networks import widths
from imagetrail.stages.synthesise import cvae, fidelity, flow, warp
from imagetrail.stages.synthesise.fidelity import Memory
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training

HELD_OUT = 0.1  # share of a class kept from generator and guard, to judge by
MOST = 512 << 20  # bytes of train that are used
PATIENCE = 10  # images drawn for each that is wanted, before a class is given up
CHUNK = 4 << 20  # bytes of images drawn at a time
LEARNED = 10_000  # images that a classifier learns from, at most
JUDGED = 5000  # images whose features are compared, at most
PLAIN = Recipe(model="fast", activation="relu", width=0.5, epochs=3, batch_size=128, lr=0.1)
# Of classifiers that look at new images.
TOLERANT = PLAIN.model_copy(update={"shift": 1, "rotate": 10.0, "zoom": 0.1})


class Synthesiser(Protocol):
    """What every method offers, once fitted to the images of a train split."""

    def sample(self, label: int, count: int, *, seed: int) -> Images:
        """`count` new images of a class, count×H×W×C uint8; equal seeds give equal images."""


# Fitted to (train, epochs=, seed=); one or two images of a class are enough, though only warp is
# made for so few.
SYNTHESISERS: dict[str, Callable[..., Synthesiser]] = {
    "cvae": cvae.fit,
    "flow": flow.fit,
    "warp": warp.fit,
}


@dataclass(frozen=True)
class Parts:
    """Who sees what of train.

    A class of one or two images has none held out; one of a single image has equal halves.
    """

    held_out: Samples  # nobody but the judges
    seen: Samples  # the generator
    first: Samples  # a half of these, for the classifier that rejects
    second: Samples  # the other half, for the one that judges


def divide(train: Samples, seed: int) -> Parts:
    """Each class by itself, at random; of a train split too large for memory, a share of each."""
    share = min(1.0, MOST / train.images.nbytes)
    numbers: list[list[NDArray[np.int64]]] = [[], [], [], []]
    for label in range(len(train.classes)):
        mine = generator(seed, "divide", label).permutation(np.flatnonzero(train.labels == label))
        mine = mine[: math.ceil(len(mine) * share)]
        count = max(1, round(HELD_OUT * len(mine))) if len(mine) > 2 else 0
        held_out, seen = mine[:count], mine[count:]
        second = seen[1::2] if len(seen) > 1 else seen
        for part, chosen in zip(numbers, (held_out, seen, seen[::2], second), strict=True):
            part.append(chosen)
    return Parts(*(_subset(train, np.sort(np.concatenate(chosen))) for chosen in numbers))


def _subset(whole: Samples, chosen: NDArray[np.int64]) -> Samples:
    return Samples(whole.gather(chosen), whole.index.take(chosen), whole.classes)


@dataclass(frozen=True)
class Drawn:
    """The new images of a class; they are fewer than wanted where too few were fit to keep."""

    images: Images
    copied: int  # near copies of training images, dropped
    rejected: int  # taken for another class, dropped


@dataclass(frozen=True)
class Sieve:
    """What a new image must pass."""

    memory: Memory
    guard: Training  # must take it for its class

    def sift(self, new: Images, label: int) -> Drawn:
        copies = self.memory.copies(new, label)
        left = new[~copies]
        guessed = _probabilities(self.guard, _unnamed(left, self.guard.model.spec.classes))
        right = guessed.argmax(1) == label
        return Drawn(left[right], int(copies.sum()), int((~right).sum()))


def build_sieve(parts: Parts, seed: int) -> Sieve:
    seen = [
        parts.seen.images[parts.seen.labels == label] for label in range(len(parts.seen.classes))
    ]
    guard = _classifier(parts.first, TOLERANT, seed=derive(seed, "guard"))
    return Sieve(fidelity.remember(seen, generator(seed, "memory")), guard)


def synthesise(
    parts: Parts, sieve: Sieve, *, method: str, per_class: int, epochs: int, seed: int
) -> Iterator[Drawn]:
    """Fits a method, and yields what it makes of each class in turn."""
    model = SYNTHESISERS[method](parts.seen, epochs=epochs, seed=seed)
    for label in range(len(parts.seen.classes)):
        yield _draw(model, label, per_class, sieve, seed)


def _draw(model: Synthesiser, label: int, wanted: int, sieve: Sieve, seed: int) -> Drawn:
    known = sieve.memory.images[label]
    chunk = min(4096, max(1, CHUNK // math.prod(known.shape[1:])))
    sifted, missing, drawn = [Drawn(known[:0], 0, 0)], wanted, 0
    patience = PATIENCE * wanted if len(known) else 0  # from no image nothing can be learned
    while missing > 0 and drawn < patience:
        rate = (wanted - missing) / drawn if drawn else 1.0
        count = min(math.ceil(missing / max(rate, 1 / PATIENCE)), patience - drawn, chunk)
        new = model.sample(label, count, seed=derive(seed, "draw", drawn))
        sifted.append(sieve.sift(new, label))
        missing, drawn = missing - len(sifted[-1].images), drawn + count
    images = np.concatenate([each.images for each in sifted])[:wanted]
    return Drawn(images, sum(each.copied for each in sifted), sum(each.rejected for each in sifted))


def _unnamed(images: Images, classes: tuple[str, ...]) -> Samples:
    nothing = [""] * len(images)
    index = samples.make_index(
        ids=nothing, labels=[0] * len(images), origin="synthetic", sources=nothing
    )
    return Samples(images, index, classes)


def gathered(drawn: Sequence[Drawn], classes: tuple[str, ...]) -> Samples:
    """All new images as one set, class by class."""
    labels = [label for label, new in enumerate(drawn) for _ in new.images]
    numbers = [number for new in drawn for number in range(len(new.images))]
    ids = [
        f"synthetic/{classes[label]}/{number}"
        for label, number in zip(labels, numbers, strict=True)
    ]
    sources = ["data/split/train"] * len(ids)
    index = samples.make_index(ids=ids, labels=labels, origin="synthetic", sources=sources)
    return Samples(np.concatenate([new.images for new in drawn]), index, classes)


def counts(drawn: Sequence[Drawn], sieve: Sieve) -> dict[str, float]:
    """near_copies: those among the images that were kept, counted anew."""
    return {
        "images": sum(len(new.images) for new in drawn),
        "near_copies": sum(
            int(sieve.memory.copies(new.images, label).sum()) for label, new in enumerate(drawn)
        ),
        "near_copies_dropped": sum(new.copied for new in drawn),
        "rejected": sum(new.rejected for new in drawn),
    }


def judge(drawn: Sequence[Drawn], parts: Parts, sieve: Sieve, *, seed: int) -> dict[str, float]:
    """What the new images are worth, by real ones that were held out.

    Nothing where either are fewer than two.

    guard_top1: the accuracy of the classifier that rejects.
    tstr_top1: of one that learned from synthetic images only. trtr_top1: of one that learned from
    as many real ones, or all that the generator saw. The features and label_agreement are those of
    a third, which learned from `parts.second`.
    frechet_real: the distance between two sets of real images.
    """
    synthetic, real = gathered(drawn, parts.seen.classes), parts.held_out
    if min(len(synthetic), len(real)) < 2:
        return {}
    by_synthetic, by_real = (
        _classifier(images, PLAIN, seed=derive(seed, "judge", origin), limit=len(synthetic))
        for images, origin in ((synthetic, "synthetic"), (parts.seen, "real"))
    )
    expert = _classifier(parts.second, TOLERANT, seed=derive(seed, "judge", "features"))
    rng = generator(seed, "judged")
    held_out, other, new = (
        _features(expert, _some(images, rng)) for images in (real, parts.first, synthetic)
    )
    even = min(len(held_out), len(new))
    density, coverage = fidelity.density_coverage(held_out[:even], new[:even])
    return {
        "tstr_top1": _top1(by_synthetic, real),
        "trtr_top1": _top1(by_real, real),
        "guard_top1": _top1(sieve.guard, real),
        "label_agreement": _top1(expert, synthetic),
        "frechet": round(fidelity.frechet(held_out, new), 4),
        "frechet_real": round(fidelity.frechet(held_out, other), 4),
        "density": density,
        "coverage": coverage,
    }


def _top1(judge: Training, images: Samples) -> float:
    return scores.top1(_probabilities(judge, images), images.labels)


def _some(images: Samples, rng: np.random.Generator) -> Samples:
    return _subset(images, rng.permutation(len(images))[:JUDGED])


def _classifier(images: Samples, recipe: Recipe, *, seed: int, limit: int = LEARNED) -> Training:
    begun = loop.start(recipe, images, seed=seed)
    learned = Mixture(images, limit=min(limit, LEARNED), repeat_to=LEARNED // 2)
    for _ in loop.fit(begun, learned, _subset(images, np.arange(1))):
        pass
    return begun


def _probabilities(judge: Training, images: Samples) -> scores.Floats:
    if not len(images):
        return np.empty((0, len(images.classes)))
    return scores.softmax(inference.predict(judge.outcome, images).double().numpy())


def _features(judge: Training, images: Samples) -> scores.Floats:
    """What the last feature maps of `PLAIN.model` show on average over the picture: N×D."""
    channels = widths(judge.outcome.spec)[-1]
    flat = inference.features(judge.outcome, images)
    features: scores.Floats = flat.reshape(len(flat), -1, channels).mean(1).double().numpy()
    return features
