"""Find labels that are wrong. Reads data/split and the pretrained weights, writes artifacts/audit.

All pictures are parted into folds; a quick model of the others answers each fold (a head on frozen
features where the project has these, else a small network), and confident learning tells from these
answers which labels are unlikely. It reads test, as it judges labels, not models: none of its
models is kept, no later stage but the report reads what it writes, and the only way from here into
a training is a person who corrects a label. So nothing leaks.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imagetrail.base import paths, pipeline, samples
from imagetrail.base.files import replacing, write_csv, write_json
from imagetrail.base.params import load
from imagetrail.base.samples import Samples
from imagetrail.base.terminal import say
from imagetrail.base.words import percent
from imagetrail.models.weights import load_weights
from imagetrail.plots import charts
from imagetrail.stages.audit import confident
from imagetrail.stages.audit.confident import Judgement
from imagetrail.stages.audit.params import Audit
from imagetrail.training import checkpoints, folds
from imagetrail.training.chosen import default_recipe
from imagetrail.training.out_of_fold import PARTS, out_of_fold
from imagetrail.training.recipe import Recipe

SHOWN = 48  # suspects in the picture
FACTS = ("source", "id", "split", "label", "suggested")
FIGURES = ("p_label", "p_suggested", "score")  # score: probability that the label is wrong

# A small network, fast to train, that little data and few epochs suffice for.
QUICK = {
    "model": "fast",
    "activation": "relu",
    "width": 0.5,
    "optimiser": "muon",
    "lr": 0.1,
    "weight_decay": 0.05,
    "ema": 0.99,
    "repeat_to": 10_000,
    "pretrained": False,
}
# Of the project's recipe: what may happen to its pictures without their becoming others.
CARRIED = ("flip", "turn", "shift", "rotate", "zoom", "shear", "elastic", "cutout")


def run() -> dict[str, float]:
    audit, seed = load(Audit, "audit"), load(int, "seed")
    parts = {folder.name: samples.read(folder) for folder in PARTS}
    pool = folds.together({name: part.index for name, part in parts.items()})
    fold = folds.assign(pool, folds=max(1, audit.folds), seed=seed)
    if audit.folds and not fold.any():
        say("no label is judged: all pictures belong together, so that none can be held out")
    if not fold.any():
        pool, fold = pool.slice(0, 0), fold[:0]
    classes = parts[paths.TRAIN.name].classes
    judged = _judge(audit, seed, pool, fold, len(classes))
    _write(paths.artifacts("audit"), judged, pool, classes)
    _draw(paths.artifacts("audit") / "suspects.png", judged, pool, list(parts.values()))
    say(f"{judged.flagged.sum()} of {len(fold)} labels are likely wrong: {paths.LABEL_ERRORS}")
    return {"images": len(fold)}


def _judge(
    audit: Audit, seed: int, pool: pa.Table, fold: NDArray[np.int64], classes: int
) -> Judgement:
    if not len(fold):
        return confident.nothing(classes)
    recipe = _quick(default_recipe(epochs=audit.epochs))
    facts = {"audit": audit.model_dump(), "recipe": recipe.model_dump(), "seed": seed}
    state = checkpoints.folder("audit", {"inputs": pipeline.inputs("audit"), **facts})
    logits = out_of_fold(fold, classes, recipe, images=audit.images, seed=seed, state=state)
    labels = pool["label"].to_numpy()
    return confident.judge(logits, labels, known=folds.spread(labels, fold, classes))


def _quick(recipe: Recipe) -> Recipe:
    """The recipe of these trainings in a project with this recipe."""
    if not recipe.fine_tune and load_weights(paths.PRETRAINED):
        return recipe.model_copy(update=dict.fromkeys(paths.SHARES, 0.0))
    carried = {name: getattr(recipe, name) for name in (*CARRIED, "epochs")}
    return Recipe.model_validate(QUICK | carried)


def _write(folder: Path, judged: Judgement, pool: pa.Table, classes: Sequence[str]) -> None:
    labels = pool["label"].to_numpy()
    write_csv(paths.LABEL_ERRORS, _rows(judged, pool, classes), columns=(*FACTS, *FIGURES))
    write_json(folder / "metrics.json", _metrics(judged, labels, classes))
    columns: dict[str, Any] = {"id": pool["id"], "label": labels}
    columns |= {
        f"p_{name}": judged.probabilities[:, i].astype(np.float32) for i, name in enumerate(classes)
    }
    with replacing(folder / "predictions.parquet") as temporary:
        pq.write_table(pa.table(columns), temporary)


def _ranked(judged: Judgement) -> NDArray[np.int64]:
    """The numbers of the flagged pictures, that with the likeliest error first."""
    flagged = np.flatnonzero(judged.flagged)
    return flagged[np.argsort(-judged.wrong[flagged], kind="stable")]


def _rows(judged: Judgement, pool: pa.Table, classes: Sequence[str]) -> list[dict[str, Any]]:
    ranked = _ranked(judged)
    rows: list[dict[str, Any]] = []
    for i, found in zip(ranked, pool.take(ranked).to_pylist(), strict=True):
        label, suggested = found["label"], judged.suggested[i]
        facts = (found["source"], found["id"], found["split"], classes[label], classes[suggested])
        of = judged.probabilities[i]
        figures = (round(float(value), 6) for value in (of[label], of[suggested], judged.wrong[i]))
        rows.append(dict(zip((*FACTS, *FIGURES), (*facts, *figures), strict=True)))
    return rows


def _metrics(
    judged: Judgement, labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """n: labels judged. top1: how often the models answered as labelled.

    wrong: labels that are wrong by all probabilities together, flagged or not. precision: of the
    flags, by their own probabilities.
    """
    counts = np.bincount(labels, minlength=len(classes))
    flags = np.bincount(labels[judged.flagged], minlength=len(classes))
    found: dict[str, Any] = {"n": len(labels), "flagged": int(judged.flagged.sum())}
    if len(labels):
        found["top1"] = round(float((judged.probabilities.argmax(1) == labels).mean()), 6)
        found["wrong"] = round(float(judged.wrong.sum()), 1)
    if found["flagged"]:
        found["precision"] = round(float(judged.wrong[judged.flagged].mean()), 6)
    by_class = zip(classes, counts, flags, judged.told, strict=True)
    return found | {
        "by_class": {
            name: {"pictures": int(count), "flagged": int(flagged), "judged": bool(told)}
            for name, count, flagged, told in by_class
        }
    }


def _draw(path: Path, judged: Judgement, pool: pa.Table, parts: Sequence[Samples]) -> None:
    """The likeliest errors: the label, what it is likely to be, and the chance of an error."""
    shown, classes = _ranked(judged)[:SHOWN], parts[0].classes
    labels = pool["label"].to_numpy()[shown]
    captions = [
        f"{classes[label]}\n→ {classes[judged.suggested[i]]}, {percent(judged.wrong[i], 1)}"
        for i, label in zip(shown, labels, strict=True)
    ]
    with replacing(path) as temporary:
        charts.gallery([_picture(parts, int(i)) for i in shown], captions, temporary)


def _picture(parts: Sequence[Samples], number: int) -> NDArray[np.uint8]:
    for part in parts:
        if number < len(part):
            image: NDArray[np.uint8] = part.images[number]
            return image
        number -= len(part)
    raise AssertionError(number)
