"""Decide whether the new model may ship. Reads champion and challenger, their test errors and test, writes artifacts/gate.

The verdict is gate.decide's, a pure function; no torch. Only `gate.max_ms` has it read what a clock said.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imagetrail import gate, layout, onnx_model, pipeline, plots, samples
from imagetrail.errors import UserError
from imagetrail.files import replacing, write_json
from imagetrail.gate import Candidate, Decision, Gate
from imagetrail.params import load
from imagetrail.samples import Samples, fingerprint

EXPORT = layout.ARTIFACTS / "export"
METRICS = layout.ARTIFACTS / "evaluate" / "metrics.json"
CHAMPION = layout.CHAMPION / "model"
SHOWN = 24  # pictures on which the two disagree


def run() -> None:
    params, test = load(Gate, "gate"), samples.read(layout.TEST)
    challenger, champion = _challenger(test, params), _champion(test)
    decision = gate.decide(challenger, champion, test.labels, params, data=pipeline.data_version())
    folder = layout.artifacts("gate")
    shown = _spread(decision.disagreements)
    with replacing(folder / "disagreements.png") as temporary:
        plots.disagreements(test.images[shown], _titles(shown, challenger, champion, test), temporary)
    with (layout.TEST / "images.npy").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_json(folder / "decision.json", _as_json(decision, challenger, champion) | {"test": digest})
    print(f"{decision.decision}: {decision.reason}")
    for name, why in decision.skipped.items():
        print(f"not checked: {name}: {why}")
    if params.max_ms is not None:
        print("the verdict depends on a clock: gate.max_ms is set")


def _challenger(test: Samples, params: Gate) -> Candidate:
    rows = _json(EXPORT / "export.json")
    (row,) = [row for row in rows if row["chosen"]]
    ms = _json(EXPORT / "timing.json")[f"{row['format']}_ms_batch1"] if params.max_ms is not None else None
    return _candidate(EXPORT / row["file"], EXPORT, METRICS, test, ms=ms)


def _champion(test: Samples) -> Candidate | None:
    if (CHAMPION / "model.onnx").exists():
        return _candidate(CHAMPION / "model.onnx", CHAMPION, CHAMPION / "metrics.json", test)
    if (layout.CHAMPION / "model.dvc").exists():
        raise UserError(f"{CHAMPION} is missing, which {layout.CHAMPION}/model.dvc names; run `dvc pull` or `dvc checkout`")
    return None


def _candidate(file: Path, folder: Path, metrics: Path, test: Samples, *, ms: float | None = None) -> Candidate:
    model = onnx_model.load(file)
    fits = model.shape == test.images.shape[1:] and model.classes == test.classes
    if not fits and folder == EXPORT:
        raise UserError(f"{file} takes other pictures or knows other classes than {layout.TEST}; run `dvc repro`")
    return Candidate(
        sha256=model.sha256,
        classes=model.classes,
        shape=model.shape,
        probabilities=model.predict(test.images) if fits else np.empty((0, len(model.classes))),
        seen=_seen(folder / "trained_on.parquet", test),
        data=model.metadata.get("data", ""),
        corruption_error=_json(metrics).get("mean_corruption_error"),
        megabytes=file.stat().st_size / 1e6,
        ms=ms,
    )


def _seen(path: Path, test: Samples) -> NDArray[np.bool_]:
    """Which test images a model was trained on, by name or by content: a picture may have come under another name."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `dvc repro`, `dvc pull` or `dvc checkout`") from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}); run `dvc checkout`") from None
    names = set(table["id"].to_pylist())
    prints = set(table["fingerprint"].to_pylist()) if "fingerprint" in table.column_names else set()
    pairs = zip(test.column("id"), test.images, strict=True)
    return np.array([name in names or fingerprint(image) in prints for name, image in pairs])


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `dvc repro`, `dvc pull` or `dvc checkout`") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged ({error}); run `dvc repro` or `dvc checkout`") from None


def _as_json(decision: Decision, challenger: Candidate, champion: Candidate | None) -> dict[str, Any]:
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


def _spread(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most SHOWN of them, from first to last."""
    chosen: NDArray[np.int64] = numbers[np.linspace(0, len(numbers) - 1, min(SHOWN, len(numbers))).astype(int)]
    return chosen


def _titles(shown: NDArray[np.int64], challenger: Candidate, champion: Candidate | None, test: Samples) -> list[str]:
    """What each of the two says; + where the challenger is right."""
    if champion is None:
        return []
    titles = []
    for number in shown:
        new, old = (test.classes[model.probabilities[number].argmax()] for model in (challenger, champion))
        titles.append(f"{'+' if new == test.classes[test.labels[number]] else '–'} {new}\nnot {old}")
    return titles
