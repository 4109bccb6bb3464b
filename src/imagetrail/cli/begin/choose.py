"""Params by what was seen: each choice with its reason, so that it can be doubted.

The same look and the same speeds give the same choices.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imagetrail.base.words import count_of
from imagetrail.cli.begin.expect import FRESH, Machine, Plan, seconds
from imagetrail.cli.begin.look import LEAST, Look
from imagetrail.cli.begin.speed import PRETRAINED, SMALL

SIZES = {  # pixels, to which larger ones are brought, if the machine is fast enough
    PRETRAINED: (224, 160, 128, 96, 64),
    "fast": (128, 96, 64, 48, 32),
}
FEW_SMALL, FEW_LARGE = 6000, 60_000  # pictures, small or larger: with more, all layers shall learn
WITHIN = 20 * 60  # seconds that `dvc repro` may be expected to take
SHOWN = 0.424  # accuracy: a loss by a class of n test pictures shows from SHOWN / √n
NOISE = 1.4  # of a calibration error over 15 bins, for a right share of 0.7, times √n
PER_STAGE = 200_000_000  # bytes of images that a stage may make

Params = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    values: Params  # by their dotted keys
    why: str


def plan(look: Look, machine: Machine, *, weights: bool) -> Plan:
    """The network, picture size and thoroughness that this machine has the time for.

    weights: whether those of ImageNet are installed.
    """
    options = list(_options(look, weights=weights))
    for option in options:
        if sum(seconds(option, look, machine).values()) <= WITHIN:
            return option
    return options[-1]


def _options(look: Look, *, weights: bool) -> Iterator[Plan]:
    """From the best to the cheapest."""
    model = PRETRAINED if weights and _few(look) and not look.written else "fast"
    for size in _sizes(look, model):
        for thorough in (True, False):
            yield Plan(model, size, 1 if look.grey else 3, thorough)


def _few(look: Look) -> bool:
    return look.count <= (FEW_SMALL if look.short <= SMALL else FEW_LARGE)


def _sizes(look: Look, model: str) -> Sequence[int]:
    if look.short <= SMALL:
        return [max(8, look.short if look.same_size else look.short // 8 * 8)]
    return [size for size in SIZES[model] if size <= look.short] or [look.short]


def choices(look: Look, chosen: Plan) -> Iterator[Choice]:
    """All but where the pictures are."""
    yield from _pictures(look, chosen)
    yield from _kind(look, chosen)
    yield from _counts(look, chosen)
    yield _network(look, chosen)
    yield _training(look, chosen)
    yield _search(look, chosen)
    yield _comparison(look, chosen)


def _pictures(look: Look, chosen: Plan) -> Iterator[Choice]:
    size = chosen.size
    same = f"the pictures are {look.short} pixels" + ("" if look.same_size else " or so")
    of = f"half of them have {look.short} pixels or more a side"
    if size < _sizes(look, chosen.model)[0]:
        of += "; this machine has no time for more"
    yield Choice({"data.image_size": size}, same if look.short <= SMALL else of)
    yield Choice(
        {"data.channels": chosen.channels}, "no colour was seen" if look.grey else "in colour"
    )
    long = look.long > 1.5
    shape = f"a tenth of the pictures are over {look.long:.1f} times as long as wide"
    near = f"nine in ten pictures are at most {look.long:.1f} times as long as wide"
    yield Choice({"data.fit": "pad" if long else "crop"}, shape if long else near)
    pages = look.several > 0.01
    share = f"{look.several:.0%} of the files have several pages or frames"
    frames = "first" if pages else "refuse"
    yield Choice({"data.frames": frames}, share if pages else "no file has several pages")


def _kind(look: Look, chosen: Plan) -> Iterator[Choice]:
    kind = "digits" if look.written else "objects" if look.plain else "photos"
    why = {
        "digits": "signs, of which a mirror image may be another",
        "objects": "things on a plain ground",
        "photos": "the ground is not plain",
    }[kind]
    shift = max(1, round(chosen.size / 28))
    values = {"augment.policy": kind, "recipe.flip": not look.written, "recipe.shift": shift}
    yield Choice(values, why)
    ours = look.count / len(look.classes)
    size = chosen.size**2 * chosen.channels * len(look.classes)
    new = max(1, min(500, round(ours), PER_STAGE // size))
    yield Choice(
        {"synthesise.per_class": new},
        f"{ours:.0f} pictures a class, {PER_STAGE // 10**6} MB at most",
    )


def _counts(look: Look, chosen: Plan) -> Iterator[Choice]:
    values = {"split.test": 0.2, "split.valid": chosen.valid(look)}
    published = f"{look.tested:,} test pictures are published"
    shares = published if look.tested else f"{look.count:,} pictures"
    yield Choice(values, f"{shares}; validation needs some hundred")
    alone = "each picture is judged once, as a test set alone would say little"
    tests = chosen.test(look)
    enough = f"{count_of(tests, 'test picture')} say enough"
    yield Choice({"split.folds": chosen.folds(look)}, alone if chosen.folds(look) else enough)
    least = max(LEAST, min(10, look.smallest))
    yield Choice({"inspect.min_per_class": least}, f"the smallest class has {look.smallest:,}")
    tested = look.tested / len(look.classes) or 0.2 * look.smallest
    margin = math.ceil(100 * max(0.03, SHOWN / math.sqrt(max(tested, 1)))) / 100
    yield Choice(
        {"gate.margin": margin if margin <= 0.15 else None},
        f"about {count_of(round(tested), 'test picture')} in a class"
        + ("" if margin <= 0.15 else ": too few to show which class loses"),
    )
    yield _calibration(tests)
    maps = max(1, min(4, 40 // len(look.classes)))
    yield Choice({"explain.per_class": maps}, f"{len(look.classes)} classes")


def _calibration(tests: int) -> Choice:
    error = NOISE / math.sqrt(max(tests, 1))
    bound = math.ceil(100 * max(0.05, 0.03 + error)) / 100
    if bound > 0.3:
        return Choice(
            {"gate.max_ece": None}, f"{count_of(tests, 'test picture')}: too few to tell it"
        )
    seen = f"{count_of(tests, 'test picture')} tell a calibration error but for {error:.2f}"
    return Choice({"gate.max_ece": bound}, seen)


def _network(look: Look, chosen: Plan) -> Choice:
    fresh = {
        "pretrain.weights": None,
        "recipe.model": chosen.model,
        "recipe.activation": "relu",
        "recipe.fine_tune": True,
        "recipe.layer_decay": 1.0,
    }
    if chosen.model != PRETRAINED:
        absent = "ImageNet's weights are not installed" if _few(look) else "pictures are many"
        signs = "these are signs, which ImageNet does not have"
        return Choice(fresh, f"trained from nothing, as {signs if look.written else absent}")
    known = {
        "pretrain.weights": "imagenet",
        "recipe.activation": "relu6",
        "recipe.fine_tune": False,
    }
    return Choice(
        fresh | known,
        "it knows ImageNet, and its head alone is solved: best where pictures are few",
    )


def _training(look: Look, chosen: Plan) -> Choice:
    train = chosen.train(look)
    known = chosen.model == PRETRAINED
    values = {
        "recipe.lr": 0.03 if known else 0.1,
        "recipe.dropout": 0.3 if known else 0.0,
        "recipe.batch_size": chosen.batch_size,
        "recipe.ema": 0.99 if chosen.epoch(look) >= 5000 else 0.9,
        "recipe.repeat_to": chosen.repeat_to,
        "train.epochs": chosen.epochs,
    }
    return Choice(values, f"{train:,} training pictures, {chosen.epoch(look):,} in an epoch")


def _search(look: Look, chosen: Plan) -> Choice:
    if chosen.model == PRETRAINED:
        space: Params = {
            "lr": {"low": 0.01, "high": 0.1, "log": True},
            "dropout": [0.0, 0.3, 0.5],
        }
    else:
        space = {
            "activation": ["relu", "leaky_relu", "silu", "gelu"],
            "lr": {"low": 0.03, "high": 0.3, "log": True},
            "weight_decay": {"low": 0.01, "high": 0.2, "log": True},
            "width": [0.75, 1.0],
        }
    values = {
        "tune.trials": chosen.trials,
        "tune.rungs": list(chosen.rungs),
        "tune.images": chosen.searched,
        "tune.space": space | {"augmented": [0.0, 0.2, 0.4], "synthetic": [0.0, 0.05]},
    }
    least = not chosen.thorough and chosen.size == _sizes(look, chosen.model)[-1]
    within = f"what {WITHIN // 60} minutes in all leave time for"
    return Choice(values, "the shortest search there is" if least else within)


def _comparison(look: Look, chosen: Plan) -> Choice:
    tried = {"augmented": 0.3, "synthetic": 0.1}
    length = {"epochs": chosen.compared_epochs, "images": chosen.compared}
    other: Params = {"model": "resnet"}
    if chosen.model == PRETRAINED:
        other = {"model": "fast", "activation": "relu", "lr": 0.1, "pretrained": False}
        other["repeat_to"] = FRESH
    arms = {chosen.model: {"model": chosen.model}, other["model"]: other}
    values = {
        "compare.seeds": chosen.seeds,
        "compare.remedies": {
            "epochs": chosen.remedied_epochs,
            "images": chosen.compared,
            "tried": tried,
        },
        "compare.sets": {"networks": {**length, "reference": chosen.model, "arms": arms}},
    }
    few = "few" if chosen.train(look) < 10_000 else "many"
    return Choice(values, f"does a remedy for {few} pictures, or another network, help?")
