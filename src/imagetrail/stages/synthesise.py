"""Draw new images of every class. Reads data/split/train, writes data/synthetic and artifacts/synthesise."""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from imagetrail import inspection, layout, metrics, samples, synthesis, training
from imagetrail.batches import Mixture
from imagetrail.choices import one_of
from imagetrail.files import replacing, write_json
from imagetrail.params import Section, load
from imagetrail.rng import derive, generator
from imagetrail.samples import Images, Samples
from imagetrail.training import Recipe, Training

HELD_OUT = 0.1  # share of train kept from the generator, to judge its images by
SHOWN = 10  # images a class on the contact sheet


class Synthesise(Section):
    """The `synthesise` section."""

    method: Annotated[str, one_of(synthesis.SYNTHESISERS, "synthesise.method")]
    per_class: int = Field(ge=0)  # images drawn for each class
    epochs: int = Field(ge=1)  # of the generator's training


def run() -> dict[str, float]:
    params, seed = load(Synthesise, "synthesise"), load(int, "seed")
    train = samples.read(layout.TRAIN)
    order = generator(seed, "synthesise").permutation(len(train))
    held_out, seen = (_subset(train, part) for part in np.split(order, [max(1, round(HELD_OUT * len(train)))]))
    drawn: dict[int, Images] = {}
    copies = 0
    if params.per_class:
        model = synthesis.SYNTHESISERS[params.method](seen, epochs=params.epochs, seed=seed)
        for label in range(len(train.classes)):
            new = model.sample(label, params.per_class, seed=seed)
            near = synthesis.near_copies(new, train.images[train.labels == label], generator(seed, "near", label))
            drawn[label] = new[~near.mask]
            copies += int(near.mask.sum())
    synthetic = _write(drawn, train)
    quality = {"method": params.method, "images": len(synthetic), "near_copies": copies}
    if len(synthetic):
        quality |= _judge(synthetic, seen, held_out, seed)
    folder = layout.artifacts("synthesise")
    write_json(folder / "quality.json", quality)
    with replacing(folder / "samples.png") as temporary:
        shown = [image for images in drawn.values() for image in images[:SHOWN]] or list(train.images[:SHOWN])
        inspection.contact_sheet(shown, columns=SHOWN).save(temporary, "png")
    print(f"{len(synthetic)} images; {copies} near copies of training images dropped; {quality}")
    return {"images": len(synthetic)}


def _subset(whole: Samples, chosen: NDArray[np.int64]) -> Samples:
    chosen = np.sort(chosen)
    return Samples(whole.images[chosen], whole.index.take(chosen), whole.classes)


def _write(drawn: dict[int, Images], train: Samples) -> Samples:
    ids = [f"synthetic/{train.classes[label]}/{i}" for label, images in drawn.items() for i in range(len(images))]
    labels = [label for label, images in drawn.items() for _ in images]
    index = samples.make_index(ids=ids, labels=labels, origin="synthetic", sources=["data/split/train"] * len(ids))
    samples.write(layout.SYNTHETIC, drawn.values(), index, classes=train.classes, shape=train.images.shape[1:])
    return samples.read(layout.SYNTHETIC)


def _judge(synthetic: Samples, seen: Samples, held_out: Samples, seed: int) -> dict[str, float]:
    """Two small classifiers: one that learned from synthetic images only, one from as many real ones."""
    by_synthetic, by_real = (_classifier(images, held_out, seed) for images in (synthetic, seen))
    labels = held_out.labels
    features_real, features_synthetic = (_features(by_real, images) for images in (held_out, synthetic))
    return {
        "tstr_top1": metrics.top1(_probabilities(by_synthetic, held_out), labels),
        "trtr_top1": metrics.top1(_probabilities(by_real, held_out), labels),
        "label_agreement": metrics.top1(_probabilities(by_real, synthetic), synthetic.labels),
        "frechet": round(synthesis.frechet(features_real, features_synthetic), 4),
    }


def _classifier(images: Samples, held_out: Samples, seed: int) -> Training:
    recipe = Recipe(model="fast", activation="relu", width=0.5, epochs=3, batch_size=128, lr=0.1)
    begun = training.start(recipe, images, seed=derive(seed, "judge"))
    for _ in training.fit(begun, Mixture(images, limit=5000, repeat_to=5000), held_out):
        pass
    return begun


def _probabilities(judge: Training, images: Samples) -> metrics.Floats:
    return metrics.softmax(training.predict(judge.outcome, images).double().numpy())


@torch.no_grad()
def _features(judge: Training, images: Samples) -> metrics.Floats:
    """What the last layer sees: N×D."""
    caught: list[torch.Tensor] = []
    hook = judge.outcome.network[-1].register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].float().cpu()))
    training.predict(judge.outcome, images)
    hook.remove()
    features: metrics.Floats = torch.cat(caught).double().numpy()
    return features
