"""How much of this machine's arithmetic training uses: operations a second, against the peak.

The peak is the best of many products of large bfloat16 matrices. A training step counts as three
forward passes. `profile` has where the time of a step goes; the rest is small operations.

`photos-160` and `-224`: photos a second that EfficientNet-Lite0 learns, cropped, mirrored and
changed by TrivialAugment, with our depthwise layers against torch's own (`peer_profile`).
"""

import time
from collections.abc import Iterator
from typing import Any

from harness import figure, write

STEPS = 40
PHOTO_STEPS = 12
PHOTO = {
    "model": "efficientnet_lite0",
    "activation": "relu6",
    "batch_size": 32,
    "lr": 0.01,
    "crop": 0.3,
    "flip": True,
    "trivial": 1.0,
}
PHOTO_KINDS = (
    "reading and Python",
    "augmentation",
    "first convolution",
    "depthwise convolution",
    "pointwise convolution",
    "normalisation",
    "activation",
    "optimiser",
    "casts and copies",
    "other operations",
)
KINDS = {  # by the names torch gives its operations; the first that fits
    "convolution": ("conv",),
    "pooling": ("pool",),
    "normalisation": ("batch_norm",),
    "matrix products": ("addmm", "mm"),
    "activation": ("threshold", "relu", "clamp"),
    "optimiser": ("adamw", "foreach", "muon"),
    "copies and fills": ("copy_", "fill_", "_to_copy", "zero_"),
}


def peak(dtype) -> float:  # type: ignore[no-untyped-def]
    """Operations a second."""
    import torch

    best = 0.0
    for size in (1024, 2048, 4096):
        one, two = torch.randn(2, size, size).to(dtype)
        for _ in range(12):
            before = time.perf_counter()
            one @ two
            best = max(best, 2 * size**3 / (time.perf_counter() - before))
    return best


def training(recipe: Any, shape: tuple[int, int, int], steps: int) -> tuple[Any, Iterator[Any]]:
    """A training of random pictures, as long as its model, and its steps, of which so many."""
    import numpy as np

    from imagetrail.base.samples import Samples, make_index
    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture

    rng, count = np.random.default_rng(0), recipe.batch_size * (steps + 1)
    labels = rng.integers(0, 10, count)
    ids = [str(number) for number in range(count)]
    index = make_index(ids=ids, labels=labels, origin="real", sources=ids)
    pictures = Samples(rng.integers(0, 256, (count, *shape), np.uint8), index, tuple("0123456789"))
    begun = loop.start(recipe, pictures, seed=0)
    return begun, loop.walk(begun, Mixture(pictures), pictures)


def timed(steps: Iterator[Any], count: int) -> list[float]:
    """Seconds of each."""
    times = []
    for _ in range(count):
        before = time.perf_counter()
        next(steps)
        times.append(time.perf_counter() - before)
    return times


def training_rate(
    model: str, width: float, activation: str = "relu"
) -> tuple[list[float], dict[str, float]]:
    """Operations a second of each of many steps, and the share of time by kind of operation."""
    from torch.profiler import profile

    from imagetrail.models import classifier
    from imagetrail.training.recipe import Recipe

    recipe = Recipe(model=model, activation=activation, width=width, epochs=1, lr=0.01, flip=True)
    begun, steps = training(recipe, (28, 28, 1), 2 * STEPS)
    operations = 3 * 256 * classifier.card(begun.model)["flops_forward"]
    timed(steps, 5)
    rates = [operations / seconds for seconds in timed(steps, STEPS)]
    with profile() as profiled:
        timed(steps, 10)
    spent = dict.fromkeys([*KINDS, "other"], 0.0)
    for event in profiled.key_averages():
        spent[_kind(event.key.lower())] += event.self_cpu_time_total
    return rates, _shares(spent)


def photo_steps(side: int, *, plain: bool = False) -> tuple[list[float], dict[str, float]]:
    """Photos a second in training EfficientNet-Lite0, and where the time of a step goes.

    plain: with torch's own depthwise layers.
    """
    from torch import nn
    from torch.profiler import profile, record_function

    from imagetrail.models.depthwise import Depthwise
    from imagetrail.training import steps as optimiser_steps
    from imagetrail.training.recipe import Recipe
    from imagetrail.training.transforms import Jitter

    class Watched(Jitter):
        def __call__(self, *given: Any, **named: Any) -> Any:
            with record_function("augmentation"):
                return super().__call__(*given, **named)

    optimiser_steps.Jitter = Watched  # type: ignore[misc]
    recipe = Recipe(**PHOTO, epochs=1)
    begun, steps = training(recipe, (side, side, 3), PHOTO_STEPS + 4)
    for layer in begun.model.modules():
        if plain and type(layer) is Depthwise:
            layer.__class__ = nn.Conv2d
    timed(steps, 2)
    rates = [recipe.batch_size / seconds for seconds in timed(steps, PHOTO_STEPS)]
    with profile(record_shapes=True) as profiled:
        (whole,) = timed(steps, 1)
    optimiser_steps.Jitter = Jitter  # type: ignore[misc]
    spent = dict.fromkeys(PHOTO_KINDS, 0.0)
    for event in profiled.events():
        spent[_photo_kind(event)] += event.self_cpu_time_total
    spent["reading and Python"] += max(0.0, 1e6 * whole - sum(spent.values()))
    return rates, _shares(spent)


def _shares(spent: dict[str, float]) -> dict[str, float]:
    whole = sum(spent.values())
    return {kind: round(time / whole, 3) for kind, time in spent.items()}


def _photo_kind(event: Any) -> str:
    parent = event
    while parent:
        if parent.name == "augmentation":
            return "augmentation"
        if parent.name.startswith("Optimizer.step"):
            return "optimiser"
        parent = parent.cpu_parent
    if "batch_norm" in event.name:
        return "normalisation"
    if any(name in event.name for name in ("hardtanh", "clamp", "threshold")):
        return "activation"
    place = {"aten::mkldnn_convolution": 1, "aten::convolution_backward": 2}.get(event.name)
    if place is None:
        return "casts and copies" if "copy" in event.name else "other operations"
    out, into, *kernel = event.input_shapes[place]
    if kernel == [1, 1]:
        return "pointwise convolution"
    return "depthwise convolution" if into == 1 and out > 1 else "first convolution"


def _kind(operation: str) -> str:
    for kind, names in KINDS.items():
        if any(name in operation for name in names):
            return kind
    return "other"


def main() -> None:
    import torch

    from imagetrail.compute.device import this_machine

    precision = this_machine().dtype
    figures = {}
    for name, model, width in (
        ("article", "article", 1),
        ("fast", "fast", 1),
        ("resnet", "resnet", 1),
        ("resnet-width-2", "resnet", 2),
    ):
        top = peak(precision)
        rates, spent = training_rate(model, width)
        giga = [rate / 1e9 for rate in rates]
        figures[name] = figure(giga, [top / 1e9], "GFLOP/s", more_is_better=True, profile=spent)
    figures["matrix-peak-bfloat16-over-float32"] = figure(
        [peak(torch.bfloat16) / 1e9], [peak(torch.float32) / 1e9], "GFLOP/s", more_is_better=True
    )
    for side in (160, 224):
        (ours, profile), (theirs, peer_profile) = (
            photo_steps(side, plain=plain) for plain in (False, True)
        )
        figures[f"photos-{side}"] = figure(
            ours,
            theirs,
            "images/s",
            more_is_better=True,
            profile=profile,
            peer_profile=peer_profile,
        )
    write("roofline", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    main()
