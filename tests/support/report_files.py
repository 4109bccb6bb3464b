"""What the stages would have found, small and whole: a report is made from it without a pipeline.

Figures are drawn at random from a seed; classes may be called anything, and be many.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tiny_samples
import yaml
from PIL import Image
from project import Project

from imagetrail.base import files

ODD = ("猫", "<script>alert(1)</script>", 'e"f', "=1+1", "a,b", "नमस्ते", "$5_to_$10", "x" * 60)
RIGHT = 0.8  # of the answers, about


def _tried(ahead: float, *, passed: bool) -> dict[str, float | bool]:
    """What explain finds of a method."""
    kinds = [f"{kind}_over_{rival}" for kind in KINDS for rival in ("other", "random")]
    ends = {"": 0.0, "_low": -0.05, "_high": 0.05}
    figures = {f"{key}{end}": ahead + more for key in kinds for end, more in ends.items()}
    found = {"passed": passed, "pictures": 100 if passed else 33, **figures}
    return found | ({"randomised": 0.1, "randomised_high": 0.2} if passed else {})


KINDS = ("deletion", "insertion")
SCORES: dict[str, Any] = {
    "method": "occlusion",
    "pictures": 100,
    "shares": [0.1, 0.25, 0.5],
    "alike": 0.5,
    "methods": {
        "occlusion": _tried(0.27, passed=True),
        "grad_cam": _tried(0.01, passed=False),
    },
    "agreement": [{"one": "occlusion", "other": "layer_cam", "correlation": 0.3}],
    "train_searched": 60000,
    "shortcut_pictures": 1000,
    "shortcuts": [
        {
            "without": part,
            "top1": 0.9,
            "difference": -0.04,
            "difference_low": -0.05,
            "difference_high": high,
        }
        for part, high in (("border", -0.03), ("surroundings", 0.01), ("centre", 0.01))
    ],
}


def write(root: Path, classes: Sequence[str] = ODD, images: int = 200) -> None:
    """Fills artifacts, data/split/test, params.yaml and dvc.yaml in `root`."""
    project = Project(root)
    project.take("dvc.yaml")
    project.set(data={"name": "wear"})
    rng = np.random.default_rng(0)
    labels = np.arange(images) % len(classes)
    right = rng.random(images) < RIGHT
    answers = np.where(right, labels, rng.integers(0, len(classes), images))
    pictures = rng.integers(0, 256, (images, 8, 8, 1), np.uint8)
    tiny_samples.write(root / "data/split", "test", pictures, labels.tolist(), classes)
    folder = root / "artifacts"
    _data(folder, classes)
    _trainings(folder)
    _judged(folder, classes, labels, answers)
    _shipped(folder)


def _data(folder: Path, classes: Sequence[str]) -> None:
    finding = {"name": "dark", "severity": "warning", "text": "1 picture: <dark>", "number": 1}
    finding |= {"pictures": [["a<b>.png"]], "cure": "Take it anew."}
    report = {
        "licence": "MIT",
        "classes": list(classes),
        "images": 9 * len(classes),
        "counts": {"test": dict.fromkeys(classes, 4), "train": dict.fromkeys(classes, 5)},
        "duplicates": {"superfluous": 0, "groups_across_splits": 0},
        "unreadable": [],
        "ignored": [],
        "findings": [finding],
    }
    files.write_json(folder / "inspect/report.json", report)
    for i, _ in enumerate(classes[:30]):
        _picture(folder / f"inspect/classes/{i:03}-class.png")
    _picture(folder / "inspect/findings/dark.png")
    by_class = {name: {"pictures": 9, "flagged": 1, "judged": True} for name in classes}
    audit = {"n": 50, "flagged": 1, "top1": 0.9, "precision": 0.7, "by_class": by_class}
    files.write_json(folder / "audit/metrics.json", audit)
    error = {"source": "a<b>.png", "split": "train", "label": classes[0], "suggested": classes[1]}
    files.write_csv(folder / "audit/label_errors.csv", [error | {"p_suggested": 0.9, "score": 0.8}])
    _picture(folder / "audit/suspects.png")
    transform = {"transform": "HorizontalFlip", "images": 9, "before": 0.9, "after": 0.5, "lost": 4}
    transform |= {"worst_class": classes[0], "worst_lost": 0.9, "margin": -0.001, "p": 1e-9}
    files.write_json(folder / "augment/labels.json", [transform | {"harmful": False}])
    _picture(folder / "augment/pairs.png")
    files.write_json(folder / "synthesise/quality.json", {"images": 9, "method": "warp"})
    _picture(folder / "synthesise/samples.png")


RECIPE = {"model": "fast", "activation": "elu", "augmented": 0.0, "synthetic": 0.0, "flip": True}


def _trainings(folder: Path) -> None:
    files.write_json(folder / "tune/recipe.json", RECIPE)
    best = {"activation": "elu", "synthetic": 0.05}
    (folder / "tune/best.yaml").write_text(yaml.safe_dump(best))
    scores = (("COMPLETE", 0.9), ("PRUNED", 0.8), ("FAIL", ""))
    trials = [
        {
            "number": i,
            "state": state,
            "epochs": 1,
            "value": value,
            "activation": "elu" if i else "relu",
        }
        for i, (state, value) in enumerate(scores)
    ]
    files.write_csv(folder / "tune/trials.csv", trials)
    curves = [{"number": i, "epoch": 1, "valid_top1": 0.8 + i / 10} for i in (0, 1)]
    files.write_csv(folder / "tune/history.csv", curves)
    front = [{"number": 0, "value": 0.9, "flops_forward": 10}]
    files.write_csv(folder / "tune/pareto.csv", front)
    arms = [
        _arm("remedies", "real", 0.0, "reference"),
        _arm("remedies", "+augmented", -0.004, "no effect"),
        _arm("networks", "article", 0.0, "reference"),
        _arm("networks", "resnet", 0.02, "win"),
        _arm("networks", "fast", 0.01, "win"),
    ]
    sets = [
        {"set": name, "reference": reference, "verdict": f"of {name}: -0.40 points", "seeds": 3}
        | {"epochs": 1, "images": None}
        for name, reference in (("remedies", "real"), ("networks", "article"))
    ]
    files.write_json(folder / "compare/ranking.json", {"arms": arms, "sets": sets})
    networks = {name: RECIPE | {"model": name} for name in ("article", "resnet", "fast")}
    files.write_json(folder / "compare/recipes.json", {"remedies": {}, "networks": networks})
    files.write_json(folder / "train/recipe.json", RECIPE)
    figures = {"valid_top1": 0.9, "valid_macro_recall": 0.9, "epochs": 2, "parameters": 1234}
    files.write_json(folder / "train/metrics.json", figures | {"flops_forward": 1000})
    history = [
        {"epoch": i, "train_loss": 1 / i, "valid_loss": 0.4, "valid_top1": 0.4 * i} for i in (1, 2)
    ]
    files.write_csv(folder / "train/history.csv", history)
    layers = [{"layer": 3, "units": 8, "dead": 0.0, "saturated": 0.1, "gradient": 0.01}]
    files.write_csv(folder / "train/activity.csv", layers)
    files.write_json(folder / "crossvalidate/metrics.json", {"n": 0, "folds": 0})


def _arm(name: str, arm: str, difference: float, verdict: str) -> dict[str, Any]:
    low, high = difference - 0.01, difference + 0.01
    found = {"set": name, "arm": arm, "mean": 0.8 + difference, "sd": 0.002, "verdict": verdict}
    found |= {"difference": difference, "difference_low": low, "difference_high": high}
    return found | {"p": 0.00001, "detectable": 0.01}


def _judged(folder: Path, classes: Sequence[str], labels: np.ndarray, answers: np.ndarray) -> None:
    names = ("top1", "macro_recall", "macro_f1", "topk", "log_loss_calibrated", "ece_calibrated")
    metrics: dict[str, float] = {"n": len(labels), "k": 5, "ece": 0.1, "corrupted": 99}
    metrics["top1_clean_subset"] = 0.9
    for name in (*names, "mean_corruption_error"):
        metrics |= {name: 0.8, f"{name}_low": 0.75, f"{name}_high": 0.85}
    files.write_json(folder / "evaluate/metrics.json", metrics)
    rows = [{"class": name, "images": int((labels == i).sum())} for i, name in enumerate(classes)]
    for row in rows:
        for name in ("precision", "recall"):
            row |= {name: 0.8, f"{name}_low": 0.7, f"{name}_high": 0.9}
    rows[0] |= {"recall": 0.1}
    files.write_json(folder / "evaluate/classes.json", rows)
    pairs, counts = np.unique(np.stack([labels, answers], 1), axis=0, return_counts=True)
    confusion = [
        {"label": classes[label], "predicted": classes[answer], "images": int(count)}
        for (label, answer), count in zip(pairs, counts, strict=True)
    ]
    files.write_csv(folder / "evaluate/confusion.csv", confusion)
    coverage = [
        {"coverage": i / 100, "threshold": 1 - i / 200, "top1": 1 - i / 400} for i in range(1, 101)
    ]
    files.write_csv(folder / "evaluate/coverage.csv", coverage)
    robust = [
        {"corruption": name, "strength": i, "top1": 0.9 / i, "low": 0.1, "high": 0.95}
        for name in ("noise", "blur")
        for i in (1, 2, 3)
    ]
    files.write_csv(folder / "evaluate/robustness.csv", robust)
    slices = {"column": "source", "value": "=cmd|' /C calc'!A0", "images": 7, "top1": 0.5}
    files.write_csv(folder / "evaluate/slices.csv", [slices | {"low": 0.4, "high": 0.6}])
    predictions = pa.table({"label": labels, "predicted": answers})
    pq.write_table(predictions, folder / "evaluate/predictions.parquet")
    for name in ("mistakes", "robustness"):
        _picture(folder / f"evaluate/{name}.png")
    files.write_json(folder / "explain/scores.json", SCORES)
    curves = [
        {"method": method, "kind": kind, "share": share, "own": 0.5, "other": 0.6, "random": 0.7}
        for method in SCORES["methods"]
        for kind in KINDS
        for share in (0, *SCORES["shares"], 1)
    ]
    files.write_csv(folder / "explain/curves.csv", curves)
    for name in ("occlusion", "means", "mistakes", "prototypes"):
        _picture(folder / f"explain/maps/{name}.png")


def _shipped(folder: Path) -> None:
    row = {"file": "model.onnx", "format": "float32", "bytes": 1000, "top1": 0.8, "parity": 1e-6}
    row |= {"log_loss": 0.2, "top1_difference": 0.0, "chosen": True}
    row |= {"top1_difference_low": -0.001, "top1_difference_high": 0.001}
    files.write_json(folder / "export/export.json", [row])
    pq.write_table(pa.table({"id": ["a", "b"]}), folder / "export/trained_on.parquet")
    check = {"name": "top1_low", "passed": True, "value": 0.7, "bound": 0.5, "fault": "too low"}
    gate = {"decision": "PROMOTE", "reason": "compared with the champion", "checks": [check]}
    gate |= {"skipped": {"ms": "params.yaml sets no bound"}, "challenger": "c" * 64}
    gate |= {"champion": "d" * 64, "data": {"challenger": "e", "champion": "e"}, "test": "f"}
    gate |= {"images": 200, "left_out": 0, "decide_by": "top1", "minimal_effect": 0.01}
    gate |= {"only_challenger_right": 30, "only_champion_right": 10, "mcnemar_p": 1e-6}
    gate |= {"by_class": [{"class": "<b>", "images": 9, "difference": -0.02, "p_holm": 0.5}]}
    gate |= {"no_map": {"champion": "Such maps failed <their> test."}}
    gate |= {"reading": 3, "alpha_spent": 0.0125, "fresh_due": False}
    gate |= {
        "settles": [
            {"check": "challenger_is_better", "more_images": 4200},
            {"check": "no_class_loses", "class": "<b>", "more_images": None},
        ]
    }
    for name in ("top1_difference", "challenger_top1"):
        gate |= {name: 0.1, f"{name}_low": 0.05, f"{name}_high": 0.15}
    files.write_json(folder / "gate/decision.json", gate)
    for name in ("disagreements", "looked"):
        _picture(folder / f"gate/{name}.png")
    timing = {"started": 1.0, "seconds": 90.0, "peak_rss_bytes": 1_000_000}
    (folder / "train/timing.json").write_text(json.dumps(timing))


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(0, 256, (60, 90), np.uint8)
    Image.fromarray(pixels).save(path)
