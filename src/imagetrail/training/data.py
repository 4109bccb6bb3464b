"""One training on the pipeline's data: what tune, train and compare have in common."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from imagetrail.base import paths, samples
from imagetrail.base.hub import Architecture
from imagetrail.base.samples import Samples
from imagetrail.models.weights import load_architecture, load_weights
from imagetrail.training import checkpoints, loop, shares
from imagetrail.training.batches import Mixture
from imagetrail.training.loop import Epoch
from imagetrail.training.recipe import Recipe
from imagetrail.training.state import Training

FOLDERS = (paths.TRAIN, paths.AUGMENTED, paths.SYNTHETIC, paths.RELATED, paths.VALID)


@dataclass(frozen=True)
class Experiment:
    """The images and weights that a training of this pipeline may use: never the test split."""

    train: Samples
    augmented: Samples
    synthetic: Samples
    related: Samples  # of our classes, in our order, then of those that only related data sets have
    valid: Samples
    pretrained: dict[str, Tensor]
    architecture: Architecture | None = None  # of the project's network of the hub

    def start(self, recipe: Recipe, *, seed: int, checkpoint: Path | None = None) -> Training:
        """A training about to begin, or where `checkpoint` left it."""
        begun = loop.start(
            recipe,
            self.train,
            seed=seed,
            pretrained=self.pretrained if recipe.pretrained else None,
            architecture=self.architecture,
        )
        if checkpoint:
            checkpoints.restore(checkpoint, begun)
        return begun

    def has(self, field: str) -> bool:
        """Whether there are the images of our classes, or weights, that a recipe's field takes.

        True of a field that takes none.
        """
        if field in paths.SHARES:
            return bool((getattr(self, field).labels < len(self.train.classes)).any())
        return field not in ("pretrained", "fine_tune") or bool(self.pretrained)

    def mixture(self, recipe: Recipe, *, images: int | None = None) -> Mixture:
        """The images of an epoch, by the shares in `recipe`; of `related`, those of our classes."""
        shares.check(recipe, "recipe", prepared=self.has)
        taken = shares.taken(recipe).items()
        others = tuple((getattr(self, field), share) for field, share in taken)
        return Mixture.of(recipe, self.train, others, images)

    def fit(
        self, begun: Training, *, images: int | None = None, until: int | None = None
    ) -> Iterator[Epoch]:
        return loop.fit(begun, self.mixture(begun.recipe, images=images), self.valid, until=until)


def open_experiment(*, limited: bool = True) -> Experiment:
    """Opens what the stages have made.

    limited: trainings may use a part of the images, which takes the ids of all.
    """
    columns = ["id", "label", "parent"] if limited else ["label"]
    train, augmented, synthetic, related, valid = (
        samples.read(folder, columns=columns) for folder in FOLDERS
    )
    weights, architecture = load_weights(paths.PRETRAINED), load_architecture(paths.PRETRAINED)
    return Experiment(train, augmented, synthetic, related, valid, weights, architecture)
