"""Labels flipped at random, found again by `imagetrail audit`, and what accepting that is worth.

Of all 70,000 labels, test's too, 5 % become another class at random, three times. *Recall*: of the
flipped labels those that are flagged; *precision*: of the flags those that were flipped; the peer
calls every label wrong that the same out-of-fold answers disagree with. *Paper*: the same F1, where
the peer is the paper's rule (prune by class and by noise rate) on the same probabilities. *Clean*:
flags where no label was changed, as a share of all.

*Corrected*: the network `fast` trained on the flipped labels of train, every suggestion accepted
(ours), against the flipped ones (peer), on the published labels of test. Its gain has a 95 %
interval over test images, of the mean over seeds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from harness import CACHE, HERE, Figure, accuracy, figure, load, write
from numpy.typing import NDArray

from imagetrail.base import files, samples
from imagetrail.base.samples import Samples
from imagetrail.compute import parallel
from imagetrail.metrics.intervals import interval, resampled
from imagetrail.models.inference import predict
from imagetrail.stages.audit import confident
from imagetrail.training import loop
from imagetrail.training.batches import Mixture
from imagetrail.training.chosen import default_recipe

SETS = ("mnist", "fashion-mnist")
SHARE, SEEDS, VALID = 0.05, 3, 6000
EPOCHS = 3  # of the trainings on flipped and on corrected labels

Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]


@cache
def both(name: str) -> Samples:
    """All pictures of a data set, those of the published test set last."""
    train, test = load(name)
    index = samples.make_index(
        ids=[str(number) for number in range(len(train) + len(test))],
        labels=np.concatenate([train.labels, test.labels]),
        origin="real",
        sources=[
            f"{part}#{i}"
            for part, some in (("train", train), ("test", test))
            for i in range(len(some))
        ],
    )
    return Samples(np.concatenate([train.images, test.images]), index, train.classes)


def flipped(labels: Labels, share: float, seed: int) -> Labels:
    """The labels, this share of them changed to another one at random."""
    rng = np.random.default_rng(seed)
    which = rng.permutation(len(labels))[: round(share * len(labels))]
    changed = labels.copy()
    changed[which] = (labels[which] + rng.integers(1, 10, len(which))) % 10
    return changed


@dataclass(frozen=True)
class Audited:
    flagged: Flags
    corrected: Labels  # every suggestion accepted
    probabilities: NDArray[np.float64]
    seconds: float


def audit(name: str, labels: Labels, folder: Path) -> Audited:
    """What `imagetrail audit` says in a project with these labels."""
    pictures, counts = both(name), np.array([len(labels) - 10_000 - VALID, VALID, 10_000])
    parts = np.split(np.arange(len(labels)), np.cumsum(counts)[:-1])
    files.remove(folder)
    for part, numbers in zip(("train", "valid", "test"), parts, strict=True):
        index = pictures.index.take(numbers)
        place = index.schema.get_field_index("label")
        index = index.set_column(place, "label", [labels[numbers]])
        shown = [pictures.images[numbers]]
        samples.write(
            folder / "data/split" / part, shown, index, classes=pictures.classes, shape=(28, 28, 1)
        )
    params = yaml.safe_load((HERE.parent / "params.yaml").read_text())
    params["recipe"]["flip"] = name != "mnist"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "dvc.yaml").write_text((HERE.parent / "dvc.yaml").read_text())
    subprocess.run([sys.executable, "-m", "imagetrail.cli", "audit"], cwd=folder, check=True)
    return _read(folder, labels, pictures.classes)


def _read(folder: Path, labels: Labels, classes: tuple[str, ...]) -> Audited:
    found, corrected = folder / "artifacts/audit", labels.copy()
    rows = files.read_csv(found / "label_errors.csv")
    numbers = np.array([int(row["id"]) for row in rows], np.int64)
    corrected[numbers] = [classes.index(row["suggested"]) for row in rows]
    table = samples.read_table(found / "predictions.parquet")
    assert table["id"].to_pylist() == [str(number) for number in range(len(labels))]
    probabilities = np.stack([table[f"p_{kind}"].to_numpy() for kind in classes], 1)
    seconds = json.loads((found / "timing.json").read_text())["seconds"]
    flagged = np.isin(np.arange(len(labels)), numbers)
    return Audited(flagged, corrected, probabilities.astype(np.float64), seconds)


def by_paper(probabilities: NDArray[np.float64], labels: Labels) -> Flags:
    """Prune by class and by noise rate, both (section 3.2 of arXiv:1911.00068)."""
    joint = confident.confident_joint(probabilities, labels)
    counts = np.bincount(labels, minlength=len(joint))
    scaled = np.rint(joint / joint.sum(1, keepdims=True) * counts[:, None]).astype(int)
    by_class, by_rate = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    for label, row in enumerate(scaled):
        mine = np.flatnonzero(labels == label)
        own = probabilities[mine, label]
        by_class[mine[np.argsort(own)[: row.sum() - row[label]]]] = True
        for other in set(range(len(joint))) - {label}:
            margin = own - probabilities[mine, other]
            by_rate[mine[np.argsort(margin)[: row[other]]]] = True
    return by_class & by_rate


def measured(flagged: Flags, wrong: Flags) -> tuple[float, float, float]:
    """Recall, precision and F1, in per cent."""
    hits = 100 * int((flagged & wrong).sum())
    return hits / wrong.sum(), hits / flagged.sum(), 2 * hits / (flagged.sum() + wrong.sum())


def right(job: tuple[str, Labels, int]) -> Flags:
    """Which test pictures a model is right on that has learned these labels of train."""
    name, labels, seed = job
    train, test = load(name)
    place = train.index.schema.get_field_index("label")
    taught = replace(train, index=train.index.set_column(place, "label", [labels[: len(train)]]))
    recipe = default_recipe(epochs=EPOCHS, path=HERE.parent / "params.yaml")
    recipe = recipe.model_copy(update={"flip": name != "mnist", "pretrained": False})
    training = loop.start(recipe, taught, seed=seed)
    for _ in loop.fit(training, Mixture(taught), taught.part(np.arange(1000))):
        pass
    answered = predict(training.outcome, test).argmax(1).numpy()
    return np.asarray(answered == test.labels)


def main(name: str) -> None:
    true, folder = both(name).labels, CACHE / "label_errors"
    noisy = [flipped(true, SHARE, seed) for seed in range(SEEDS)]
    found = [audit(name, labels, folder) for labels in noisy]
    clean = audit(name, true, folder)
    files.remove(folder)
    figures = _found(name, found, noisy, true)
    spared = [float(clean.flagged.mean())]
    by_argmax = [float((clean.probabilities.argmax(1) != true).mean())]
    figures[f"{name} clean, flagged"] = figure(
        [100 * x for x in spared], [100 * x for x in by_argmax], "%"
    )
    jobs = [
        (name, labels, seed)
        for seed, one in enumerate(found)
        for labels in (one.corrected, noisy[seed])
    ]
    rights = np.array(list(parallel.map(right, jobs))).reshape(SEEDS, 2, -1)
    gain = (rights[:, 0].astype(float) - rights[:, 1]).mean(0)
    low, high = interval(resampled(gain[:, None], np.random.default_rng(0), draws=2000)[:, 0])
    ends = f"{100 * low:+.2f} to {100 * high:+.2f}"
    print(f"{name}: corrected labels give {100 * gain.mean():+.2f} points, {ends}")
    tops = rights.mean(2)
    figures[f"{name} corrected"] = accuracy(
        tops[:, 0].tolist(), tops[:, 1].tolist(), gain=gain.mean(), gain_low=low, gain_high=high
    )
    write("label_errors", (__doc__ or "").strip(), figures)


def _found(name: str, found: list[Audited], noisy: list[Labels], true: Labels) -> dict[str, Figure]:
    wrong = [labels != true for labels in noisy]
    ours = [measured(one.flagged, bad) for one, bad in zip(found, wrong, strict=True)]
    argmax = [
        measured(one.probabilities.argmax(1) != labels, bad)
        for one, labels, bad in zip(found, noisy, wrong, strict=True)
    ]
    paper = [
        measured(by_paper(one.probabilities, labels), bad)[2]
        for one, labels, bad in zip(found, noisy, wrong, strict=True)
    ]
    figures = {}
    for place, what in enumerate(("recall", "precision", "F1")):
        mine, theirs = [run[place] for run in ours], [run[place] for run in argmax]
        figures[f"{name} {what}"] = figure(mine, theirs, "%", more_is_better=True)
        spread = f"{statistics.mean(mine):.1f} ± {statistics.stdev(mine):.1f} %"
        print(f"{name} {what}: {spread}, peer {statistics.mean(theirs):.1f} %")
    figures[f"{name} F1, paper"] = figure([run[2] for run in ours], paper, "%", more_is_better=True)
    seconds = [one.seconds for one in found]
    print(f"{name}: an audit took {statistics.mean(seconds):.0f} s on {os.cpu_count()} cores")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=SETS, help="default: both")
    for chosen in parser.parse_args().sets:
        main(chosen)
