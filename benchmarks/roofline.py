"""How much of this machine's arithmetic training uses: operations a second, against the peak.

The peak is the best of many products of large bfloat16 matrices. A training step counts as three
forward passes. `profile` has where the time of a step goes; the rest is small operations.
"""

import time

from harness import figure, write

STEPS = 40
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


def training_rate(
    model: str, width: float, activation: str = "relu"
) -> tuple[list[float], dict[str, float]]:
    """Operations a second of each of many steps, and the share of time by kind of operation."""
    import numpy as np
    from torch.profiler import profile

    from imagetrail.base.samples import Samples, make_index
    from imagetrail.models import classifier
    from imagetrail.training import loop
    from imagetrail.training.batches import Mixture
    from imagetrail.training.recipe import Recipe

    rng, count = np.random.default_rng(0), 256 * 2 * STEPS
    labels = rng.integers(0, 10, count)
    ids = [str(number) for number in range(count)]
    index = make_index(ids=ids, labels=labels, origin="real", sources=ids)
    pictures = Samples(
        rng.integers(0, 256, (count, 28, 28, 1), np.uint8), index, tuple("0123456789")
    )
    recipe = Recipe(model=model, activation=activation, width=width, epochs=1, lr=0.01, flip=True)
    begun = loop.start(recipe, pictures, seed=0)
    steps = loop.walk(begun, Mixture(pictures), pictures)
    operations = 3 * 256 * classifier.card(begun.model)["flops_forward"]
    for _ in range(5):
        next(steps)
    rates = []
    for _ in range(STEPS):
        before = time.perf_counter()
        next(steps)
        rates.append(operations / (time.perf_counter() - before))
    with profile() as profiled:
        for _ in range(10):
            next(steps)
    spent = dict.fromkeys([*KINDS, "other"], 0.0)
    for event in profiled.key_averages():
        spent[_kind(event.key.lower())] += event.self_cpu_time_total
    whole = sum(spent.values())
    return rates, {kind: round(time / whole, 3) for kind, time in spent.items()}


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
    write("roofline", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    main()
