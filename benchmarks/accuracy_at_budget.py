"""How well we do in the time of the article's Keras code for its 10 epochs, and in 4.5 times that.

Our recipes are fixed: chosen on 10,000 images held out of the train set. They train on the whole
train set; test is read once a seed, as the mean of the answers to a picture and to its changes of
the kinds seen in training: where that shifts, moved by a pixel up and left and down and right;
where it flips, the mirror images. `plain` has the accuracy without that. `share` is our training
time in units of the budget: at most 1.
"""

import json
import sys
import time
from statistics import mean, median

import numpy as np
from harness import accuracy, arrays, keras, load, printed_by, write

from imagetrail.base.samples import Samples

CLOTHES = {"flip": True, "weight_decay": 0.05, "ema": 0.99}
BUDGETS = {  # data set, times the Keras run, seeds, recipe
    "fashion-mnist-1x": ("fashion-mnist", 1.0, 5, {"model": "fast", "epochs": 9, **CLOTHES}),
    "mnist-1x": (
        "mnist",
        1.0,
        5,
        {"model": "fast", "epochs": 8, "shift": 2, "weight_decay": 0.05, "ema": 0.99},
    ),
    "fashion-mnist-4.5x": (
        "fashion-mnist",
        4.5,
        5,
        {"model": "resnet", "epochs": 18, "shift": 1, **CLOTHES},
    ),
}


def train(figure: str, seed: int) -> dict[str, float]:
    from imagetrail.models import inference
    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture
    from imagetrail.training.loop import Step
    from imagetrail.training.recipe import Recipe

    name, _, _, changes = BUDGETS[figure]
    train, test = load(name)
    fixed = {"activation": "relu", "lr": 0.1, "label_smoothing": 0.1}
    recipe = Recipe(**(fixed | changes))
    begun = loop.start(recipe, train, seed=seed)
    seconds, before = 0.0, time.perf_counter()
    for event in loop.walk(begun, Mixture(train), _few(test)):
        if isinstance(event, Step):
            seconds = time.perf_counter() - before
    answers = [
        inference.predict(begun.outcome, _moved(test, by), mirrored=mirrored).softmax(1).numpy()
        for by in ((0, 1, -1) if recipe.shift else (0,))
        for mirrored in ((False, True) if recipe.flip else (False,))
    ]
    plain, top1 = (
        float((answer.argmax(1) == test.labels).mean())
        for answer in (answers[0], np.mean(answers, 0))
    )
    return {"seconds": seconds, "plain": plain, "top1": top1}


def _few(test: Samples) -> Samples:
    """Validation within a training is not what is measured: a batch of it is enough."""
    return Samples(test.images[:100], test.index[:100], test.classes)


def _moved(test: Samples, by: int) -> Samples:
    """By so many pixels down and right; pixels that move in repeat the border."""
    height, width = test.images.shape[1:3]
    rows, columns = (np.clip(np.arange(side) - by, 0, side - 1) for side in (height, width))
    return Samples(test.images[:, rows][:, :, columns], test.index, test.classes)


def main(chosen: list[str]) -> None:
    """chosen: the figures to measure, all if none; `figure:2` measures only two seeds."""
    figures, peers = {}, {}
    for wanted in chosen or BUDGETS:
        label, _, fewer = wanted.partition(":")
        name, times, seeds, _ = BUDGETS[label]
        if name not in peers:
            peers[name] = [keras("article_keras.py", str(arrays(name)), "0")]
        budget = times * median(run["seconds"] for run in peers[name])
        ours = []
        for seed in range(int(fewer or seeds)):
            ours.append(printed_by([sys.executable, __file__, "--one", label, str(seed)]))
            top1, seconds = ours[-1]["top1"], ours[-1]["seconds"]
            print(f"{label} seed {seed}: {top1:.2%} in {seconds:.0f} of {budget:.0f} s", flush=True)
        figures[label] = accuracy(
            [run["top1"] for run in ours],
            [run["top1"] for run in peers[name]],
            plain=mean(run["plain"] for run in ours),
            share=median(run["seconds"] for run in ours) / budget,
            budget_seconds=budget,
        )
        write("accuracy_at_budget", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(train(sys.argv[2], int(sys.argv[3]))))
    else:
        main(sys.argv[1:])
