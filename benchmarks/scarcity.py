"""Few labelled images a class, and what helps: top-1 on the whole official test set, beside Keras.

Five random draws of 10, 100 and 1000 images a class, the same for both sides. Keras has the
article's network and its 10 epochs, or as many more as make 500 steps. The arms: `plain`, the
images alone. `real`, the same changed anew each time they are seen, as in all arms that follow, and
judged by the mean of the answers to a picture and to four changed versions of it. `augmented`, with
a share of images that Albumentations makes from them. `synthetic`, with a share of blends of
neighbours. `related`: for mnist, with a share of scikit-learn's digits; for fashion-mnist, instead
of a network from scratch a new last layer for an EfficientNet-Lite0 that knows ImageNet, with the
picture and its mirror image. `all`: all of it. The figure without an arm is that of the arm that
was best on 2,000 images of the train set that no draw has; the recipes were chosen on these and
3,000 more. Test is read once a draw and arm.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Any

import few
import matplotlib.pyplot as plt
from few import ARMS, COUNTS, JITTER, Job
from harness import CACHE, HERE, accuracy, arrays, write

from imagetrail.base import files
from imagetrail.compute import parallel

Work = tuple[str, tuple[Any, ...]]  # a function of few, and its arguments
Runs = dict[
    tuple[str, int, str], list[dict[str, float]]
]  # of a data set, count and arm: a run a draw


def done(work: Work) -> Any:
    """What a work gives. It is kept, so that a run that was broken off goes on where it stopped."""
    name, arguments = work
    key = hashlib.blake2b(f"{few.code()} {work}".encode(), digest_size=8).hexdigest()
    path = CACHE / "scarcity" / f"{key}.json"
    if not path.exists():
        before = perf_counter()
        found = getattr(few, name)(*arguments)
        files.write_json(
            path, {"work": repr(work), "found": found, "seconds": perf_counter() - before}
        )
    return json.loads(path.read_text())


def main(counts: Sequence[int], draws: int, *, rehearsal: bool) -> None:
    for name in JITTER:
        arrays(name)  # fetched before several workers want it
    photos: list[Work] = [
        ("keep_features", ("fashion-mnist", part, mirror, rehearsal))
        for part, mirror in product((2, 1), (False, True))
    ]
    peers: list[Work] = [("article", (name, tuple(counts), draws, rehearsal)) for name in JITTER]
    jobs = [Job(*each, rehearsal) for each in product(JITTER, ARMS, reversed(counts), range(draws))]
    begun = perf_counter()
    *_, first, second = parallel.map(done, [*photos, *peers])
    articles = dict(zip(JITTER, (first["found"], second["found"]), strict=True))
    passed = f"features and the article's network: {perf_counter() - begun:.0f} s"
    print(f"{passed}; {len(jobs)} trainings follow", flush=True)
    runs: Runs = {}
    trainings: list[Work] = [("top1", (job,)) for job in jobs]
    for number, (job, run) in enumerate(zip(jobs, parallel.map(done, trainings), strict=True), 1):
        runs.setdefault((job.name, job.count, job.arm), []).append(run["found"])
        left = (perf_counter() - begun) / number * (len(jobs) - number) / 60
        result = f"{run['found']['test']:.2%} in {run['seconds']:.0f} s"
        which = f"{job.name} {job.count} {job.arm} {job.draw}"
        print(f"{which}: {result}; {left:.0f} minutes to go", flush=True)
    figures = _figures(runs, articles)
    if rehearsal:
        for label, found in figures.items():
            print(f"{label}: {found['ours']:.2%} (article {found['peer']:.2%})")
    else:
        chart = "![Top-1 against labelled images a class, a line an arm](results/scarcity.png)"
        write("scarcity", f"{(__doc__ or '').strip()}\n\n{chart}", figures)
    picture(runs, articles, (CACHE if rehearsal else HERE / "results") / "scarcity.png")


def _figures(runs: Runs, articles: dict[str, dict[str, float]]) -> dict[str, Any]:
    """For each data set and count the arm that was best on valid, and then each arm."""
    figures = {}
    for name, count in dict.fromkeys((name, count) for name, count, _ in runs):
        valid = {arm: mean(run["valid"] for run in runs[name, count, arm]) for arm in ARMS}
        best = max(ARMS, key=lambda arm: valid[arm])
        labels = {f"{name}-{count}": best} | {f"{name}-{count}-{arm}": arm for arm in ARMS}
        for label, arm in labels.items():
            tops = [run["test"] for run in runs[name, count, arm]]
            peers = [articles[name][f"{count}-{draw}"] for draw in range(len(tops))]
            figures[label] = accuracy(tops, peers, arm=arm, valid=valid[arm])
    return figures


def picture(runs: Runs, articles: dict[str, dict[str, float]], path: Path) -> None:
    """Accuracy against images a class: a line an arm, with its standard deviation over draws."""
    figure, panels = plt.subplots(1, len(JITTER), figsize=(11, 4.5), layout="constrained")
    for panel, name in zip(panels, JITTER, strict=True):
        lines = {
            arm: {
                count: [run["test"] for run in runs.get((name, count, arm), [])] for count in COUNTS
            }
            for arm in ARMS
        }
        peers = {
            count: [top1 for key, top1 in articles[name].items() if key.startswith(f"{count}-")]
            for count in COUNTS
        }
        for number, (arm, found) in enumerate(
            ({"the article's Keras network": peers} | lines).items()
        ):
            points = {count: tops for count, tops in found.items() if tops}
            spread = [stdev(tops) if len(tops) > 1 else 0.0 for tops in points.values()]
            apart = [count * 1.03 ** (number - 3) for count in points]  # so that none hides another
            style = {"color": f"C{number - 1}"} if number else {"linestyle": "--", "color": "black"}
            means = [mean(tops) for tops in points.values()]
            panel.errorbar(apart, means, spread, label=arm, marker=".", capsize=2, **style)
        labels = {"xlabel": "labelled images a class", "ylabel": "top-1 on test"}
        panel.set(title=name, xscale="log", **labels)
        panel.set_xticks(COUNTS, [str(count) for count in COUNTS])
        panel.grid(alpha=0.3)
    panels[-1].legend()
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png", metadata={"Software": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--counts", type=int, nargs="+", default=COUNTS, choices=COUNTS, help="images a class"
    )
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="judge on held-out train images, and write no figures",
    )
    given = parser.parse_args()
    main(given.counts, given.draws, rehearsal=given.rehearse)
