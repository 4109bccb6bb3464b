"""How long to search, compare and train, and on pictures of which size: from best to cheapest."""

from collections.abc import Iterator
from dataclasses import dataclass

from imagetrail.cli.begin.kinds import Kind
from imagetrail.cli.begin.look import Look
from imagetrail.cli.begin.speed import CROWDED, PRETRAINED, SMALL

FEW = 200  # test pictures: with fewer, an interval is over ten points wide
FOLDS = 5
REMEDIED = 2  # epochs of each training that judges a remedy
SIZES = {  # pixels that a network sees of larger pictures, if the machine is fast enough
    PRETRAINED: (224, 160, 128, 96, 64),
    "fast": (128, 96, 64, 48, 32),
}
FEW_LARGE = 60_000  # pictures that are not small: with more, all layers shall learn


@dataclass(frozen=True)
class Effort:
    """How much search, comparison and training take."""

    trials: int
    rungs: tuple[int, ...]
    searched: int  # pictures that a trial learns from, at most
    seeds: int
    compared: int  # pictures that a compared training learns from, at most
    compared_epochs: int
    epochs: int  # of the final training
    repeat_to: int
    batch_size: int


EFFORTS = {  # by network, from the longest; the last is for where nothing else fits
    "fast": (  # trials, rungs, searched, seeds, compared, its epochs, epochs, repeat_to, batch_size
        Effort(32, (1, 3, 9), 24_000, 8, 12_000, 9, 24, 10_000, 256),
        Effort(16, (1, 3, 9), 12_000, 5, 6000, 5, 12, 10_000, 256),
        Effort(8, (1, 3), 4000, 3, 2000, 3, 12, 4000, 128),
        Effort(4, (1, 2), 2000, 3, 1000, 2, 6, 2000, 64),
    ),
    CROWDED: (
        Effort(16, (1, 3, 9), 12_000, 5, 12_000, 5, 18, 10_000, 512),
        Effort(8, (1, 3), 6000, 3, 6000, 3, 9, 10_000, 512),
        Effort(4, (1, 2), 4000, 3, 3000, 2, 9, 4000, 512),
        Effort(4, (1, 2), 4000, 3, 3000, 2, 6, 4000, 512),
    ),
    PRETRAINED: (  # an epoch of a frozen network is a view of every picture
        Effort(32, (1, 2, 4), 24_000, 8, 12_000, 6, 12, 1000, 32),
        Effort(16, (1, 2, 4), 12_000, 5, 6000, 3, 8, 1000, 32),
        Effort(8, (1, 2), 4000, 5, 2000, 2, 6, 1000, 32),
        Effort(4, (1,), 2000, 3, 1000, 2, 4, 1000, 32),
    ),
}


@dataclass(frozen=True)
class Plan:
    """What decides how long the pipeline takes."""

    kind: Kind
    model: str
    size: int  # pixels of a side in the pipeline
    channels: int
    effort: Effort
    factor: int = 1  # by which the network enlarges them

    @property
    def pretrained(self) -> bool:
        return self.model == PRETRAINED

    @property
    def shortest(self) -> bool:
        return self.effort == EFFORTS[self.model][-1]

    def valid_share(self, look: Look) -> float:
        """Of what is not test."""
        return 0.2 if look.count < 2000 else 0.1

    def folds(self, look: Look) -> int:
        """Of a cross-validation, where a test set would say little."""
        few = not look.tested and self.test(look) < FEW
        return min(FOLDS, look.smallest) if few else 0  # a picture of each class in each fold

    def test(self, look: Look) -> int:
        return look.tested or round(0.2 * look.count)

    def valid(self, look: Look) -> int:
        return round((look.count - self.test(look)) * self.valid_share(look))

    def train(self, look: Look) -> int:
        return look.count - self.test(look) - self.valid(look)

    def epoch(self, look: Look, limit: int | None = None, *, repeat_to: int | None = None) -> int:
        """Images of an epoch, from at most `limit` different ones."""
        used = max(1, min(self.train(look), limit or self.train(look)))
        least = min(self.effort.repeat_to, repeat_to or self.effort.repeat_to)
        return int(used * max(1, -(-least // used)))


def options(look: Look, kind: Kind, *, weights: bool) -> Iterator[Plan]:
    """Every plan for these pictures, from the best to the cheapest.

    weights: whether those of ImageNet are installed.
    """
    channels = 1 if look.grey else 3
    for model in networks(look, kind, weights=weights):
        *long, least = EFFORTS[model]
        for efforts in (long, [least]):
            for size, factor in sizes(look, model):
                yield from (Plan(kind, model, size, channels, effort, factor) for effort in efforts)


def networks(look: Look, kind: Kind, *, weights: bool) -> tuple[str, ...]:
    """That suit these pictures, the best first."""
    if few(look, kind):
        return (PRETRAINED,) if weights and kind.known else ("fast",)
    return (CROWDED, "fast") if kind.crowded and look.short <= SMALL else ("fast",)


def few(look: Look, kind: Kind) -> bool:
    """Whether pictures are so few that ImageNet's knowledge is worth more than their own."""
    return look.count <= (kind.few_small if look.short <= SMALL else FEW_LARGE)


def sizes(look: Look, model: str) -> Iterator[tuple[int, int]]:
    """Of the pictures in the pipeline, each with the factor by which `model` enlarges them.

    The best are first.
    """
    if look.short <= SMALL:
        fits = [max(8, look.short if look.same_size else look.short // 8 * 8)]
    else:
        fits = [size for size in SIZES[model] if size <= look.short] or [look.short]
    first, *others = fits
    yield from ((first, factor) for factor in factors(first, model))
    yield from ((size, 1) for size in others)


def factors(size: int, model: str) -> list[int]:
    """By which `model` may enlarge pictures of `size` pixels, its own choice first."""
    if model != PRETRAINED:
        return [1]
    *seen, _ = SIZES[PRETRAINED]
    return sorted({max(1, round(side / size)) for side in seen}, reverse=True)
