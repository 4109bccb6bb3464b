"""Decide whether the new model may ship.

Reads champion and challenger, their test errors and test, writes artifacts/gate. The verdict is
that of `decide`, a pure function; no torch. Only `gate.max_ms` has it read what a clock measured.
Once the challenger has become the champion, the decision that made it so stands, for the same test
images and bounds.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagetrail.base import hashing, paths, pipeline, samples
from imagetrail.base.criteria import Criterion
from imagetrail.base.errors import UserError, damaged
from imagetrail.base.files import read_json, replacing, write_json
from imagetrail.base.params import load
from imagetrail.base.paths import CHAMPION_FOLDER, CHAMPION_MODEL, LEDGER, champion_present
from imagetrail.base.samples import Samples
from imagetrail.base.terminal import say
from imagetrail.base.units import units
from imagetrail.serving import onnx_model
from imagetrail.stages.gate import looks, readings
from imagetrail.stages.gate.candidate import Candidate, other_task
from imagetrail.stages.gate.decision import Decision, decide, judged_images
from imagetrail.stages.gate.pair import Units
from imagetrail.stages.gate.params import Gate

EXPORT = paths.ARTIFACTS / "export"
METRICS = paths.ARTIFACTS / "evaluate" / "metrics.json"
FILES = ("decision.json", "disagreements.png", "looked.png")
SHOWN = 24  # pictures on which the two disagree


def run() -> None:
    params, test = load(Gate, "gate"), samples.read(paths.TEST)
    by = load(Criterion, "decide_by")
    challenger, champion = _challenger(test, params), _champion(test)
    bounds = {"bounds": params.model_dump(), "decide_by": by}
    version = hashing.md5(paths.TEST)
    terms = {"test": version, **bounds}
    folder = paths.artifacts("gate")
    if champion and champion.sha256 == challenger.sha256 and (kept := _kept(terms)):
        for name in FILES:
            with replacing(folder / name) as temporary:
                shutil.copyfile(CHAMPION_FOLDER / name, temporary)
        why = f"{kept['decision']}: {kept['reason']}"
        say(f"the challenger is the champion, by this decision: {why}")
        return
    data, together = pipeline.data_version(), units(test.index)
    earlier = _earlier(challenger, champion)
    reading = 1 if earlier else _reading(challenger, champion, test, together, version)
    decision = decide(
        challenger,
        champion,
        test.labels,
        params,
        data=data,
        units=together,
        by=by,
        reading=reading,
        earlier=earlier,
    )
    differ = decision.disagreements
    _draw(folder / "disagreements.png", _spread(differ, SHOWN), challenger, champion, test)
    both = {"new model": challenger} | ({"champion": champion} if champion else {})
    absent = looks.draw(folder / "looked.png", _spread(differ, looks.SHOWN), both, test)
    found = _as_json(decision, challenger, champion) | {"no_map": absent} | terms
    write_json(folder / "decision.json", found)
    say(f"{decision.decision}: {decision.reason}")
    for name, why in decision.skipped.items():
        say(f"not checked: {name}: {why}")
    if params.max_ms is not None:
        say("the verdict depends on a clock: gate.max_ms is set")


def _reading(
    challenger: Candidate, champion: Candidate | None, test: Samples, together: Units, version: str
) -> int:
    """Which challenger this is that the test images judge, noted before it is known how.

    The same challenger beside the same champion again is the same reading.
    """
    found, judged = readings.read(), judged_images(champion, together)
    readings.write(found)
    if champion is None or champion.sha256 == challenger.sha256 or not len(judged):
        return 1
    if other_task(challenger, champion):
        return 1
    names = [test.column("fingerprint")[number] for number in judged]
    new = readings.reading(challenger.sha256, champion.sha256, version, names)
    readings.write(found if new in found else [*found, new])
    return len(readings.counted(new, found, names))


def _earlier(challenger: Candidate, champion: Candidate | None) -> int | None:
    """The last line of the ledger that made the challenger the champion, if another is it now.

    Raises UserError if the ledger is damaged.
    """
    if champion is None or champion.sha256 == challenger.sha256 or not LEDGER.exists():
        return None
    found = None
    try:
        for line in map(json.loads, LEDGER.read_text().splitlines()):
            found = int(line["number"]) if line["model"] == challenger.sha256 else found
    except (KeyError, ValueError, TypeError) as error:
        raise damaged(
            LEDGER, error, remedy=f"bring it back with `git checkout -- {LEDGER}`"
        ) from None
    return found


def _kept(terms: dict[str, Any]) -> dict[str, Any] | None:
    """The decision that the champion was promoted by, if it was made on these terms."""
    if not all((CHAMPION_FOLDER / name).exists() for name in FILES):
        return None
    decision: dict[str, Any] = {"decide_by": "top1"}  # of those who do not say
    decision |= read_json(CHAMPION_FOLDER / "decision.json")
    return decision if decision | terms == decision else None


def _challenger(test: Samples, params: Gate) -> Candidate:
    rows = read_json(EXPORT / "export.json")
    (row,) = [row for row in rows if row["chosen"]]
    ms = None
    if params.max_ms is not None:
        ms = read_json(EXPORT / "timing.json")[f"{row['format']}_ms_batch1"]
    return _candidate(EXPORT / row["file"], EXPORT, METRICS, test, ms=ms)


def _champion(test: Samples) -> Candidate | None:
    if not champion_present():
        return None
    return _candidate(CHAMPION_MODEL, CHAMPION_FOLDER, CHAMPION_FOLDER / "metrics.json", test)


def _candidate(
    file: Path, folder: Path, metrics: Path, test: Samples, *, ms: float | None = None
) -> Candidate:
    model = onnx_model.load(file)
    fits = model.shape == test.images.shape[1:]
    if folder == EXPORT and not (fits and model.classes == test.classes):
        fault = f"takes other pictures or knows other classes than {paths.TEST}"
        raise UserError(f"{file} {fault}; run `dvc repro`")
    return Candidate(
        sha256=model.sha256,
        file=str(file),
        classes=model.classes,
        shape=model.shape,
        probabilities=model.predict(test.images) if fits else np.empty((0, len(model.classes))),
        seen=_seen(folder / "trained_on.parquet", test),
        data=model.metadata.get("data", ""),
        corruption_error=read_json(metrics).get("mean_corruption_error"),
        megabytes=file.stat().st_size / 1e6,
        ms=ms,
    )


def _seen(path: Path, test: Samples) -> NDArray[np.bool_]:
    """Which test images a model was trained on: by name or, under another name, by content."""
    known = samples.read_table(path)
    seen = np.zeros(len(test), np.bool_)
    for name in {"id", "fingerprint"} & set(known.column_names):  # models of old have but names
        values = set(known[name].to_pylist())
        seen |= np.array([value in values for value in test.column(name)], np.bool_)
    return seen


def _as_json(
    decision: Decision, challenger: Candidate, champion: Candidate | None
) -> dict[str, Any]:
    return {
        "decision": decision.decision,
        "reason": decision.reason,
        "checks": [asdict(check) for check in decision.checks],
        "skipped": decision.skipped,
        "challenger": challenger.sha256,
        "champion": champion.sha256 if champion else None,
        "data": {"challenger": challenger.data, "champion": champion.data if champion else None},
        **decision.figures,
    }


def _draw(
    path: Path,
    numbers: NDArray[np.int64],
    challenger: Candidate,
    champion: Candidate | None,
    test: Samples,
) -> None:
    """Test images that only one of the two gets right: the label, and the answer of the other.

    + where the challenger is right.
    """
    from imagetrail.plots import charts  # matplotlib takes longer to load than all else here

    captions = []
    for number in numbers:
        models = [model for model in (challenger, champion) if model]
        new, old = (model.classes[model.probabilities[number].argmax()] for model in models)
        label = test.classes[test.labels[number]]
        sign, wrong = ("+", old) if new == label else ("–", new)
        captions.append(f"{sign} {label}\n{charts.ARROW} {wrong}")
    with replacing(path) as temporary:
        charts.gallery([*test.images[numbers]], captions, temporary)


def _spread(numbers: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of them, evenly from first to last."""
    few = np.linspace(0, len(numbers) - 1, min(most, len(numbers))).astype(int)
    return np.asarray(numbers[few], np.int64)
