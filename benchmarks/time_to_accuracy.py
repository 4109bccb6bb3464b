"""How long training takes to the accuracy that the article's Keras code reaches in its 10 epochs.

Keras has batches of 32. Our recipe is fixed: chosen on 10,000 images held out of the train set. It
trains on part of the train set and is read once on test, for each seed; the time is that of
training alone, on both sides, and then of the whole process.
"""

import json
import sys
import time
from statistics import mean

from harness import arrays, figure, keras, load, printed_by, write

from imagetrail.base.samples import Samples

SEEDS = 6
KERAS_SEEDS = 2
# One epoch of so many: on 10,000 held-out images they reach 91.0 % (Keras: 90.5 %) and 98.9 % (its
# 98.8 % on test).
IMAGES = {"fashion-mnist": 45_000, "mnist": 20_000}
ARTICLE_EPOCHS = 2


def train(name: str, seed: int, **changes: object) -> dict[str, float]:
    """Trains on the first so many of a shuffle; the seconds are from the first step to the last."""
    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture
    from imagetrail.training.loop import Step
    from imagetrail.training.recipe import Recipe

    train, test = load(name)
    fixed = {
        "model": "fast",
        "activation": "relu",
        "width": 0.5,
        "lr": 0.2,
        "label_smoothing": 0.1,
        "epochs": 1,
    }
    recipe = Recipe(**(fixed | changes))
    images = Mixture(train, limit=IMAGES[name] if "model" not in changes else None)
    begun = loop.start(recipe, train, seed=seed)
    before = time.perf_counter()
    valid = (
        test if recipe.epochs == 1 else Samples(test.images[:100], test.index[:100], test.classes)
    )
    for event in loop.walk(
        begun, images, valid
    ):  # between epochs it validates, which Keras is not asked to do
        if isinstance(event, Step):
            seconds = time.perf_counter() - before
    return {
        "seconds": seconds,
        "top1": event.valid_top1,
        "images_per_second": recipe.epochs * len(images) / seconds,
    }


def article(seed: int) -> dict[str, float]:
    """The article's own network with its own batch size."""
    changes = {"model": "article", "width": 1.0, "initialisation": "glorot", "label_smoothing": 0.0}
    adam = {
        "optimiser": "adamw",
        "lr": 0.001 * 8**0.5,
        "schedule": "constant",
        "batch_size": 32,
        "epochs": ARTICLE_EPOCHS,
    }
    return train("fashion-mnist", seed, **changes, **adam)


def one(*arguments: str) -> dict[str, float]:
    """A training in a process of its own, as the other side has it."""
    return printed_by([sys.executable, __file__, *arguments])


def main() -> None:
    figures = {}
    for name in IMAGES:
        before = [one(name, str(seed)) for seed in range(SEEDS // 2)]
        peers = [
            keras("article_keras.py", str(arrays(name)), str(seed)) for seed in range(KERAS_SEEDS)
        ]
        ours = before + [one(name, str(seed)) for seed in range(SEEDS // 2, SEEDS)]
        facts = {"top1": [run["top1"] for run in ours], "target": [run["top1"] for run in peers]}
        facts["mean_reaches_target"] = mean(facts["top1"]) >= mean(facts["target"])
        figures[name] = figure(
            [run["seconds"] for run in ours], [run["seconds"] for run in peers], "s", **facts
        )
        figures[f"{name}-whole-process"] = figure(
            [run["process_seconds"] for run in ours], [run["process_seconds"] for run in peers], "s"
        )
        top1 = facts["top1"]
        print(f"{name}: mean top-1 {mean(top1):.2%} ({min(top1):.2%} – {max(top1):.2%})")
        print(f"Keras {mean(facts['target']):.2%}")
        if name == "fashion-mnist":
            same = [one("article", str(seed))["images_per_second"] for seed in range(3)]
            plain = printed_by(
                [
                    sys.executable,
                    str((arrays(name).parents[1]) / "article_torch.py"),
                    str(arrays(name)),
                ]
            )
            same += [one("article", str(seed))["images_per_second"] for seed in range(3, 5)]
            figures["article-network-vs-keras"] = figure(
                same, [run["images_per_second"] for run in peers], "images/s", more_is_better=True
            )
            figures["article-network-vs-dataloader"] = figure(
                same, [plain["images_per_second"]], "images/s", more_is_better=True
            )
    write("time_to_accuracy", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(
            json.dumps(
                article(int(sys.argv[2]))
                if sys.argv[1] == "article"
                else train(sys.argv[1], int(sys.argv[2]))
            )
        )
    else:
        main()
