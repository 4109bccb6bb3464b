"""New images: train a classifier on nothing but 10,000 synthetic ones, and test it on real ones.

The peer of an accuracy is the same classifier trained on as many real images. Both are tested on a
tenth of the official train set that no generator saw. The seconds are those of everything but that
judgement: fitting, drawing, sifting, on all cores; their peer is the three minutes that are
allowed. Near copies of training images are dropped, then counted anew.
"""

import time

from harness import accuracy, figure, load, write

from imagetrail.stages.synthesise import synthesis

PER_CLASS = 1000
EPOCHS = 30  # where there is a training
ALLOWED = 180.0  # seconds


def main() -> None:
    figures = {}
    for name in ("fashion-mnist", "mnist"):
        train, _ = load(name)
        for method in synthesis.SYNTHESISERS:
            before = time.perf_counter()
            parts = synthesis.divide(train, seed=0)
            sieve = synthesis.build_sieve(parts, seed=0)
            drawn = list(
                synthesis.synthesise(
                    parts, sieve, method=method, per_class=PER_CLASS, epochs=EPOCHS, seed=0
                )
            )
            seconds = time.perf_counter() - before
            counts, judged = (
                synthesis.counts(drawn, sieve),
                synthesis.judge(drawn, parts, sieve, seed=0),
            )
            figures[f"{name}-{method}"] = accuracy(
                [judged["tstr_top1"]], [judged["trtr_top1"]], **counts, **judged
            )
            figures[f"{name}-{method}-seconds"] = figure([seconds], [ALLOWED], "s")
            print(name, method, f"{seconds:.1f} s", counts, judged, flush=True)
    write("synthesis", (__doc__ or "").strip(), figures)


if __name__ == "__main__":
    main()
