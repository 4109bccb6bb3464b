"""Learn from related domains first.

Reads data/split/related and data/weights, writes artifacts/pretrain.
"""

from imagetrail.base import paths, samples
from imagetrail.base.files import write_json
from imagetrail.base.params import load
from imagetrail.base.samples import Samples
from imagetrail.models.weights import save_weights, trunk_weights
from imagetrail.stages.pretrain.params import Pretrain
from imagetrail.stages.pretrain.weights import read
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import default_recipe

VALID = 0.05  # share of the related pictures that training is watched on


def run() -> None:
    params, seed = load(Pretrain, "pretrain"), load(int, "seed")
    recipe = default_recipe(epochs=params.epochs)
    params.check_weights(recipe.model)
    weights = read(params.weights) if params.weights else {}
    facts: dict[str, object] = {"related": params.related, "weights": params.weights}
    related = samples.read(paths.RELATED, columns=["label"])
    if len(related):
        train, valid = _parts(related)
        begun = loop.start(recipe, train, seed=seed, pretrained=weights)
        for epoch in loop.fit(
            begun, Mixture(train, repeat_to=recipe.repeat_to, repeats=recipe.repeats), valid
        ):
            top1 = f"{epoch.valid_top1:.2%}"
            print(f"epoch {epoch.number}: top-1 {top1} on related images", flush=True)
        weights = trunk_weights(begun.outcome)
        facts |= {
            "images": len(train),
            "classes": len(set(train.labels)),
            "valid_top1": epoch.valid_top1,
        }
    folder = paths.artifacts("pretrain")
    save_weights(weights, folder / "weights.safetensors")
    write_json(folder / "metrics.json", facts)


def _parts(related: Samples) -> tuple[Samples, Samples]:
    """To learn from, and to watch that on: they are shuffled already."""
    count = max(1, round(VALID * len(related)))
    valid, train = (
        Samples(related.images[part], related.index[part], related.classes)
        for part in (slice(count), slice(count, None))
    )
    return train, valid
