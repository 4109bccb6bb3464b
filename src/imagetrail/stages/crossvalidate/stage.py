"""Judge the recipe on every picture once, where there are too few for a test set.

Reads data/split and the recipe of the final training, writes artifacts/crossvalidate.

All pictures are parted into `split.folds` folds, pictures that belong together into one; for each
fold a model is trained as the final one was, but without synthetic images, which know pictures of
all folds, on all others, and answers it. The figures are of the recipe, not of the one model that
ships, which `evaluate` judges on test. They are a little on the bright side: the recipe was chosen
on pictures that are judged here, though no model has seen the picture that it answers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imagetrail.base import paths, pipeline, samples
from imagetrail.base.files import read_json, replacing, write_json
from imagetrail.base.params import check, load
from imagetrail.base.rng import generator
from imagetrail.base.terminal import say
from imagetrail.base.units import units
from imagetrail.base.words import percent
from imagetrail.metrics import judgement, scores
from imagetrail.metrics.scores import Floats
from imagetrail.training import checkpoints, folds
from imagetrail.training.out_of_fold import PARTS, out_of_fold
from imagetrail.training.recipe import Recipe

TRAINED = paths.ARTIFACTS / "train" / "recipe.json"
DRAWS = 1000  # for a 95 % interval
SHOWN = ("top1", "macro_recall", "macro_f1", "log_loss")


def run() -> dict[str, float]:
    count, seed = load(int, "split.folds"), load(int, "seed")
    parts = {folder.name: samples.read(folder) for folder in PARTS}
    pool = folds.together({name: part.index for name, part in parts.items()})
    classes = parts[paths.TRAIN.name].classes
    if not count:
        _write(pool.slice(0, 0), np.empty((0, len(classes))), np.empty(0, np.int64), classes, seed)
        say("not asked for: split.folds is 0")
        return {"images": 0}
    fold = folds.assign(pool, folds=count, seed=seed)
    recipe = check(Recipe, read_json(TRAINED), str(TRAINED))  # a fold has no valid to choose by
    facts = {"recipe": recipe.model_dump(), "folds": count, "seed": seed}
    if recipe.synthetic:
        say("without synthetic images, which were drawn from pictures of all folds")
    state = checkpoints.folder(
        "crossvalidate", {"inputs": pipeline.inputs("crossvalidate"), **facts}
    )
    logits = out_of_fold(fold, len(classes), recipe, images=None, seed=seed, state=state)
    found = _write(pool, scores.softmax(logits), fold, classes, seed)
    say(
        f"top-1 {percent(found['top1'])} "
        f"({percent(found['top1_low'])} – {percent(found['top1_high'])}) on "
        f"{len(pool)} pictures, each judged once, in {count} folds"
    )
    return {"images": len(pool)}


def _write(
    pool: pa.Table,
    probabilities: Floats,
    fold: NDArray[np.int64],
    classes: Sequence[str],
    seed: int,
) -> dict[str, float]:
    labels = pool["label"].to_numpy()
    found: dict[str, float] = {"n": len(pool), "folds": int(fold.max(initial=-1)) + 1}
    if len(pool):
        judged = {name: (scores.METRICS[name], probabilities) for name in SHOWN}
        rng, together = generator(seed, "bootstrap"), units(pool)
        found |= judgement.judge(judged, labels, rng, draws=DRAWS, units=together)
        right = probabilities.argmax(1) == labels
        each = [float(right[fold == number].mean()) for number in range(int(fold.max()) + 1)]
        found["top1_sd"] = float(np.std(each, ddof=1))  # from fold to fold
    folder = paths.artifacts("crossvalidate")
    write_json(folder / "metrics.json", {name: round(value, 6) for name, value in found.items()})
    columns: dict[str, Any] = {"id": pool["id"], "label": labels, "fold": fold}
    columns |= {
        f"p_{name}": probabilities[:, i].astype(np.float32) for i, name in enumerate(classes)
    }
    with replacing(folder / "predictions.parquet") as temporary:
        pq.write_table(pa.table(columns), temporary)
    return found
