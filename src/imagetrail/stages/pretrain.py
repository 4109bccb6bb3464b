"""Learn from related domains first. Reads data/related, writes artifacts/pretrain."""

import numpy as np
import safetensors.torch
import torch
from pydantic import Field

from imagetrail import datasets, experiment, layout, samples, training
from imagetrail.batches import Mixture
from imagetrail.datasets import Data
from imagetrail.files import replacing, write_json
from imagetrail.params import Section, load
from imagetrail.rng import generator
from imagetrail.samples import Images, Samples

VALID = 0.05  # share of the related pictures that training is watched on


class Pretrain(Section):
    """The `pretrain` section."""

    related: list[str]  # names of other data sets; none: no pretraining
    epochs: int = Field(ge=1)


def run() -> None:
    params, data, seed = load(Pretrain, "pretrain"), load(Data, "data"), load(int, "seed")
    weights: dict[str, torch.Tensor] = {}
    facts: dict[str, object] = {"related": params.related}
    if params.related:
        train, valid = _related(params.related, data, seed)
        recipe = experiment.default_recipe(epochs=params.epochs).model_copy(update={"augmented": 0.0, "synthetic": 0.0})
        begun = training.start(recipe, train, seed=seed)
        for epoch in training.fit(begun, Mixture(train, repeat_to=recipe.repeat_to), valid):
            print(f"epoch {epoch.number}: top-1 {epoch.valid_top1:.2%} on {len(train.classes)} related classes", flush=True)
        weights = {name: tensor.contiguous().cpu() for name, tensor in begun.outcome.network.state_dict().items()}
        facts |= {"images": len(train), "classes": len(train.classes), "valid_top1": epoch.valid_top1}
    folder = layout.artifacts("pretrain")
    with replacing(folder / "weights.safetensors") as temporary:
        temporary.write_bytes(safetensors.torch.save(weights))
    write_json(folder / "metrics.json", facts)


def _related(names: list[str], data: Data, seed: int) -> tuple[Samples, Samples]:
    """The training pictures of the related data sets, brought to our size and colour, each with classes of its own."""
    images: list[Images] = []
    labels: list[int] = []
    ids: list[str] = []
    classes: list[str] = []
    for name in names:
        pictures = datasets.read(name, layout.RELATED / name)
        chosen = [i for i, split in enumerate(pictures.splits) if split != "test"]
        images += pictures.readable(chosen, data.shape)
        labels += [len(classes) + int(pictures.labels[i]) for i in chosen]
        ids += [f"{name}/{pictures.sources[i]}" for i in chosen]
        classes += [f"{name}/{kind}" for kind in pictures.classes]
    index = samples.make_index(ids=ids, labels=labels, origin="related", sources=ids)
    order = generator(seed, "related").permutation(len(ids))
    parts = np.split(order, [round(VALID * len(ids))])
    stacked = np.stack(images)
    valid, train = (Samples(stacked[part], index.take(part), tuple(classes)) for part in parts)
    return train, valid
