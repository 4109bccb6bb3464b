"""Decide whether the new model may ship. Reads the champion, the challenger and test, writes artifacts/gate.

A pure function of files; no torch. Without a champion, absolute thresholds decide.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from imagetrail import layout, metrics, onnx_model, samples
from imagetrail.errors import UserError
from imagetrail.files import write_json
from imagetrail.params import Section, load
from imagetrail.samples import Samples

CHALLENGER = layout.ARTIFACTS / "export" / "model.onnx"


class Gate(Section):
    """The `gate` section."""

    min_top1: float = Field(ge=0, le=1)  # what the lower end of the first model's interval must reach
    alpha: float = Field(gt=0, lt=0.5)  # error rate of the test against a champion


def run() -> None:
    params, test = load(Gate, "gate"), samples.read(layout.TEST)
    champion = layout.CHAMPION / "model" / "model.onnx"
    evaluated = json.loads((layout.ARTIFACTS / "evaluate" / "metrics.json").read_text())
    checks = [_check("top1_low", evaluated["top1_low"], params.min_top1, evaluated["top1_low"] >= params.min_top1)]
    reason = "there is no champion yet: absolute thresholds decide"
    figures: dict[str, Any] = {}
    if champion.exists():
        check, figures = _against(champion, test, params.alpha)
        checks.append(check)
        reason = "compared with the champion, image by image"
    decision = "REJECT" if not checks[0]["passed"] else "PROMOTE" if all(check["passed"] for check in checks) else "HOLD"
    for check in checks:
        if not check["passed"]:
            reason += f"; {check['name']} is {check['value']:.4f}, its bound {check['bound']:.4f}"
    write_json(
        layout.artifacts("gate") / "decision.json", {"decision": decision, "reason": reason, "checks": checks, **figures}
    )
    print(f"{decision}: {reason}")


def _check(name: str, value: float, bound: float, passed: bool) -> dict[str, Any]:
    return {"name": name, "passed": passed, "value": value, "bound": bound}


def _against(champion: Path, test: Samples, alpha: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Exact McNemar test that the challenger gets more of today's test images right than the champion."""
    old, new = onnx_model.load(champion), onnx_model.load(CHALLENGER)
    if old.shape != new.shape or old.classes != new.classes:
        raise UserError(f"{champion} takes other images or knows other classes than {CHALLENGER}; they cannot be compared")
    right = {name: model.predict(test.images).argmax(1) == test.labels for name, model in (("new", new), ("old", old))}
    only_new, only_old, p = metrics.mcnemar(right["new"], right["old"])
    figures = {"champion_top1": float(right["old"].mean()), "challenger_top1": float(right["new"].mean())}
    return _check("mcnemar_p", p, alpha, p < alpha), figures | {
        "only_challenger_right": only_new,
        "only_champion_right": only_old,
    }
