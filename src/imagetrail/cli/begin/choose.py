"""Params by what was seen, each choice with its reason.

The same look and the same speeds give the same choices.
"""

from collections.abc import Iterator

from imagetrail.base.words import percent
from imagetrail.cli.begin.choice import Choice, Params
from imagetrail.cli.begin.counts import counts
from imagetrail.cli.begin.expect import Machine, seconds
from imagetrail.cli.begin.kinds import FEW, Kind, changes
from imagetrail.cli.begin.look import Look
from imagetrail.cli.begin.plans import REMEDIED, Plan, factors, few, options, sizes
from imagetrail.cli.begin.speed import CROWDED, PRETRAINED, SMALL

MINUTES = 15  # that `dvc repro` may be expected to take
PER_STAGE = 200_000_000  # bytes of images that a stage may make
LEARNING: Params = {
    "optimiser": "muon",
    "lr": 0.1,
    "schedule": "one_cycle",
    "label_smoothing": 0.1,
    "layer_decay": 1.0,
    "blend": 1.0,
}
# CIFAR-10, 10 a class, at 96 pixels: a head 61.9 %, all layers 60.7 %, half of the way 63.3 %;
# elpv, valid: a head 85.9 %, half of the way 83.6 %; there null keeps the head
TUNING: Params = {"optimiser": "adamw", "lr": 0.001, "layer_decay": 0.8, "blend": None}
STEPS = {  # by network
    "fast": LEARNING,
    CROWDED: LEARNING | {"schedule": "cosine", "label_smoothing": 0.2},
    PRETRAINED: LEARNING | TUNING,
}
ACTIVATIONS = {"fast": "relu", CROWDED: "gelu", PRETRAINED: "relu6"}
FRESH_SPACE: Params = {
    "activation": ["relu", "leaky_relu", "silu", "gelu"],
    "lr": {"low": 0.03, "high": 0.3, "log": True},
    "weight_decay": {"low": 0.01, "high": 0.2, "log": True},
    "width": [0.75, 1.0],
    "augmented": [0.0, 0.2, 0.4],
    "synthetic": [0.0, 0.05],
}
SPACES: dict[str, Params] = {  # by network
    "fast": FRESH_SPACE,
    # what so few pictures say of more goes astray: it stays near what suits 49,000 of CIFAR-10
    CROWDED: {
        "lr": {"low": 0.07, "high": 0.14, "log": True},
        "weight_decay": {"low": 0.03, "high": 0.1, "log": True},
    },
    PRETRAINED: {"penalty": {"low": 0.01, "high": 1.0, "log": True}},  # of a head: no steps
}


def plan(
    look: Look, machine: Machine, kind: Kind, *, minutes: int = MINUTES, weights: bool
) -> Plan:
    """The network, picture size and thoroughness that this machine has the time for.

    The shortest there is, where that takes longer. weights: whether those of ImageNet are
    installed.
    """
    plans = list(options(look, kind, weights=weights))
    times = [sum(seconds(option, look, machine).values()) for option in plans]
    for option, time in zip(plans, times, strict=True):
        if time <= 60 * minutes:
            return option
    return plans[times.index(min(times))]


def choices(look: Look, chosen: Plan, *, minutes: int = MINUTES) -> Iterator[Choice]:
    """All but where the pictures are."""
    yield from _pictures(look, chosen, minutes)
    yield from _kind(look, chosen)
    yield from counts(look, chosen)
    yield _network(look, chosen)
    yield _enlarged(chosen, minutes)
    yield _training(look, chosen)
    yield _search(chosen, minutes)
    yield _comparison(look, chosen)


def _pictures(look: Look, chosen: Plan, minutes: int) -> Iterator[Choice]:
    size = chosen.size
    best, _ = next(sizes(look, chosen.model))
    same = f"the pictures are {look.short} pixels" + ("" if look.same_size else " or so")
    of = f"half of them have {look.short} pixels or more a side"
    if size < best:
        of += f"; {minutes} minutes leave no time for more"
    yield Choice({"data.image_size": size}, same if look.short <= SMALL else of)
    yield Choice(
        {"data.channels": chosen.channels}, "no colour was seen" if look.grey else "in colour"
    )
    long = look.long > 1.5
    shape = f"a tenth of the pictures are over {look.long:.1f} times as long as wide"
    near = f"nine in ten pictures are at most {look.long:.1f} times as long as wide"
    yield Choice({"data.fit": "pad" if long else "crop"}, shape if long else near)
    pages = look.several > 0.01
    share = f"{percent(look.several, 0)} of the files have several pages or frames"
    frames = "first" if pages else "refuse"
    yield Choice({"data.frames": frames}, share if pages else "no file has several pages")


def _kind(look: Look, chosen: Plan) -> Iterator[Choice]:
    values = {f"recipe.{name}": value for name, value in _changes(look, chosen).items()}
    yield Choice({"augment.policy": chosen.kind.policy} | values, chosen.kind.why)
    yield _synthesis(look, chosen)


def _changes(look: Look, chosen: Plan) -> Params:
    a_class = look.count / len(look.classes)
    return changes(chosen.kind, chosen.size, few=not chosen.pretrained and a_class <= FEW)


def _synthesis(look: Look, chosen: Plan) -> Choice:
    if chosen.pretrained:
        why = "blends of photos would be judged by networks from nothing, for longer than all else"
        return Choice({"synthesise.per_class": 0}, why)
    a_class = look.count / len(look.classes)
    size = chosen.size**2 * chosen.channels * len(look.classes)
    new = max(1, min(500, round(a_class), PER_STAGE // size))
    return Choice(
        {"synthesise.per_class": new},
        f"{a_class:.0f} pictures a class, {PER_STAGE // 10**6} MB at most",
    )


def _network(look: Look, chosen: Plan) -> Choice:
    values: Params = {
        "pretrain.weights": "imagenet" if chosen.pretrained else None,
        "recipe.model": chosen.model,
        "recipe.activation": ACTIVATIONS[chosen.model],
        "recipe.initialisation": "identity" if chosen.model == CROWDED else "gain",
        "recipe.fine_tune": not chosen.pretrained,
    }
    if chosen.pretrained:
        return Choice(
            values, "it knows ImageNet, and stays as it came, unless `compare` shows that it helps"
        )
    absent = "ImageNet's weights are not installed"
    if not few(look, chosen.kind):
        absent = "pictures are many"
    signs = "these are signs, which ImageNet does not have"
    return Choice(values, f"trained from nothing, as {absent if chosen.kind.known else signs}")


def _enlarged(chosen: Plan, minutes: int) -> Choice:
    seen = f"the network sees {chosen.size * chosen.factor} pixels"
    if chosen.factor == factors(chosen.size, chosen.model)[0]:
        return Choice({"recipe.enlarge": None}, seen)
    more = f"{seen}; {minutes} minutes leave no time for more"
    return Choice({"recipe.enlarge": chosen.factor}, more)


def _training(look: Look, chosen: Plan) -> Choice:
    train, effort = chosen.train(look), chosen.effort
    values = {
        "recipe.dropout": 0.0,
        **{f"recipe.{name}": value for name, value in STEPS[chosen.model].items()},
        "recipe.batch_size": effort.batch_size,
        "recipe.ema": 0.99 if chosen.epoch(look) >= 5000 else 0.9,
        "recipe.repeat_to": effort.repeat_to,
        "train.epochs": effort.epochs,
    }
    return Choice(values, f"{train:,} training pictures, {chosen.epoch(look):,} in an epoch")


def _search(chosen: Plan, minutes: int) -> Choice:
    values = {
        "tune.trials": chosen.effort.trials,
        "tune.rungs": list(chosen.effort.rungs),
        "tune.images": chosen.effort.searched,
        "tune.space": SPACES[chosen.model],
    }
    within = f"what {minutes} minutes in all leave time for"
    return Choice(values, "the shortest search there is" if chosen.shortest else within)


def _comparison(look: Look, chosen: Plan) -> Choice:
    effort, known = chosen.effort, chosen.pretrained
    epochs = effort.compared_epochs
    tried: Params = {"augmented": 0.3} | ({"fine_tune": True} if known else {"synthetic": 0.1})
    name, arms = "networks", {model: {"model": model} for model in (chosen.model, "resnet")}
    if known:
        plain = {field: type(value)(0) for field, value in _changes(look, chosen).items() if value}
        name, arms = "views", {"changed": {}, "plain": plain}
    contest = {"epochs": epochs, "images": effort.compared, "reference": next(iter(arms))}
    values = {
        "compare.seeds": effort.seeds,
        "compare.remedies": {
            "epochs": epochs if known else REMEDIED,
            "images": effort.compared,
            "tried": tried,
        },
        "compare.sets": {name: contest | {"arms": arms}},
    }
    few = "few" if chosen.train(look) < 10_000 else "many"
    other = "fine-tuning" if known else "another network"
    return Choice(values, f"does a remedy for {few} pictures, or {other}, help?")
