"""Labels that `imagetrail suggest` asks for, against labels of pictures drawn at random.

A small network learns from a few labelled pictures; of 10,000 without labels, as many as are given
are then labelled, and it learns anew from both. Top-1 on the 10,000 official test pictures, five
draws; `before` is the accuracy without the new labels, `sd` that over the draws, `gain` the mean of
the paired differences with its standard error, `margin` what the least certain pictures alone
would give.
"""

from statistics import mean, stdev

import numpy as np
from harness import Figure, accuracy, load, write

from imagetrail.base.rng import generator
from imagetrail.base.samples import Samples
from imagetrail.metrics.scores import Floats, softmax
from imagetrail.models import inference
from imagetrail.models.classifier import Classifier
from imagetrail.serving import suggestion
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.recipe import Recipe

DRAWS = 5
POOL = 10_000
LABELLED = {"mnist": 200, "fashion-mnist": 500}  # to begin with, and added
CHANGED = {"mnist": {"shift": 2, "rotate": 10}, "fashion-mnist": {"flip": True, "shift": 2}}
RECIPE = {
    "model": "fast",
    "width": 0.5,
    "activation": "silu",
    "epochs": 10,
    "batch_size": 128,
    "lr": 0.1,
    "weight_decay": 0.05,
    "ema": 0.99,
    "repeat_to": 3000,
}


def some(whole: Samples, chosen: np.ndarray) -> Samples:
    return Samples(whole.images[chosen], whole.index.take(chosen), whole.classes)


def fit(name: str, train: Samples, draw: int) -> Classifier:
    training = loop.start(Recipe.model_validate(RECIPE | CHANGED[name]), train, seed=draw)
    mixture = Mixture(train, (), None, training.recipe.repeat_to)
    for _ in loop.fit(training, mixture, some(train, np.arange(10))):
        pass
    return training.outcome


def probabilities(model: Classifier, pictures: Samples) -> Floats:
    return softmax(inference.predict(model, pictures).double().numpy())


def measure(name: str) -> Figure:
    train, test = load(name)
    count = LABELLED[name]
    top1: dict[str, list[float]] = {"before": [], "random": [], "margin": [], "suggested": []}
    for draw in range(DRAWS):
        order = generator(draw, "suggest", name).permutation(len(train))
        begun, free = order[:count], order[count : count + POOL]
        model, pool = fit(name, some(train, begun), draw), some(train, free)
        p, features = probabilities(model, pool), inference.features(model, pool).numpy()
        ranked = np.sort(p, 1)
        added = {
            "random": np.arange(count),
            "margin": np.argsort(ranked[:, -1] - ranked[:, -2])[:count],
            "suggested": np.array(suggestion.rank(p, features, count=count)),
        }
        models = {"before": model} | {
            arm: fit(name, some(train, np.concatenate([begun, free[chosen]])), draw)
            for arm, chosen in added.items()
        }
        for arm, made in models.items():
            right = probabilities(made, test).argmax(1) == test.labels
            top1[arm].append(float(right.mean()))
        print(name, draw, {arm: f"{values[-1]:.2%}" for arm, values in top1.items()}, flush=True)
    gains = np.subtract(top1["suggested"], top1["random"])
    return accuracy(
        top1["suggested"],
        top1["random"],
        before=mean(top1["before"]),
        margin=mean(top1["margin"]),
        peer_sd=stdev(top1["random"]),
        gain=float(gains.mean()),
        gain_se=stdev(gains.tolist()) / DRAWS**0.5,
    )


def main() -> None:
    figures = {f"{name}-{count}+{count}": measure(name) for name, count in LABELLED.items()}
    write("suggest", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    main()
