"""Learn from related domains first.

Reads data/split/related, data/weights and data/hub, writes artifacts/pretrain.
"""

from torch import Tensor

from imagetrail.base import paths, samples
from imagetrail.base.files import write_json
from imagetrail.base.hub import Architecture, named
from imagetrail.base.params import load
from imagetrail.base.samples import Samples
from imagetrail.base.terminal import say, track
from imagetrail.base.words import percent
from imagetrail.models.weights import save_weights, trunk_weights
from imagetrail.stages.pretrain import backbone
from imagetrail.stages.pretrain.params import Pretrain
from imagetrail.stages.pretrain.weights import read
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.chosen import default_recipe
from imagetrail.training.recipe import Recipe

VALID = 0.05  # share of the related pictures that training is watched on


def run() -> None:
    params, seed = load(Pretrain, "pretrain"), load(int, "seed")
    recipe = default_recipe(epochs=params.epochs)
    params.check_weights(recipe.model)
    related = samples.read(paths.RELATED, columns=["label"])
    weights, architecture = _begin(params, recipe, related)
    facts: dict[str, object] = {"related": params.related, "weights": params.weights}
    if architecture:
        facts["weights"] = params.weights or recipe.model
    if len(related):
        train, valid = _parts(related)
        begun = loop.start(recipe, train, seed=seed, pretrained=weights, architecture=architecture)
        fitted = loop.fit(begun, Mixture.of(recipe, train), valid)
        for epoch in track(fitted, recipe.epochs, "training", "epochs"):
            top1 = percent(epoch.valid_top1)
            say(f"epoch {epoch.number}: top-1 {top1} on related images")
        weights = trunk_weights(begun.outcome)
        facts |= {
            "images": len(train),
            "classes": len(set(train.labels)),
            "valid_top1": epoch.valid_top1,
        }
    folder = paths.artifacts("pretrain")
    save_weights(weights, folder / "weights.safetensors", architecture=architecture)
    write_json(folder / "metrics.json", facts)


def _begin(
    params: Pretrain, recipe: Recipe, related: Samples
) -> tuple[dict[str, Tensor], Architecture | None]:
    """The weights of a trunk, if there are any, and of a network of the hub what builds it."""
    weights: dict[str, Tensor] = {}
    architecture = None
    if named(recipe.model):
        _, height, width, channels = related.images.shape  # the shape also if there are none
        factor = recipe.enlarge or 1
        shape = height * factor, width * factor, channels
        weights, architecture = backbone.read(
            recipe.model, shape, activation=recipe.activation, digest=params.sha256
        )
    if params.weights:
        weights = read(params.weights, recipe.model)
    return weights, architecture


def _parts(related: Samples) -> tuple[Samples, Samples]:
    """To learn from, and to watch that on: they are shuffled already."""
    count = max(1, round(VALID * len(related)))
    valid, train = (
        Samples(related.images[part], related.index[part], related.classes)
        for part in (slice(count), slice(count, None))
    )
    return train, valid
