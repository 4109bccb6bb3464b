"""`imagetrail status`: which stages are out of date, why, and what came out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagetrail.base.terminal import clock, say
from imagetrail.base.words import count_of, percent

if TYPE_CHECKING:  # loaded when the command runs: the others start without it
    from imagetrail.cli.freshness import State

ROW = "{:14s}{:7s}{:>8s}  {}"
WHY = 2  # reasons in a row


def status() -> None:
    """Say which stages are out of date and why, how long each took, and how good the model is."""
    from imagetrail.base import paths
    from imagetrail.cli import freshness

    found = freshness.states()
    say(ROW.format("stage", "state", "took", "why"))
    for state in found:
        seconds = _number(paths.ARTIFACTS / state.name / "timing.json", "seconds")
        took = "" if seconds is None else clock(seconds)
        say(ROW.format(state.name, state.word, took, _why(state)).rstrip())
    stale = sum(state.word != "fresh" for state in found)
    say(
        f"`dvc repro` runs {count_of(stale, 'stage')}, or fewer where a result comes out the same"
        if stale
        else "all stages are fresh"
    )
    say(*filter(None, [_headline(), _verdict()]))


def _why(state: "State") -> str:
    if not state.why:
        return f"for {state.waits}" if state.waits else ""
    more = len(state.why) - WHY
    return ", ".join(state.why[:WHY]) + (f", and {more} more" if more > 0 else "")


def _headline() -> str:
    from imagetrail.base import paths

    metrics = _read(paths.ARTIFACTS / "evaluate" / "metrics.json")
    if not {"top1", "top1_low", "top1_high", "n"} <= metrics.keys():
        return "no model has been judged yet"
    top1, low, high = (percent(metrics[f"top1{end}"]) for end in ("", "_low", "_high"))
    return f"top-1 {top1} ({low} to {high}) on {count_of(metrics['n'], 'test picture')}"


def _verdict() -> str:
    from imagetrail.base import paths

    decision = _read(paths.ARTIFACTS / "gate" / "decision.json")
    return "{decision}: {reason}".format(**decision) if "reason" in decision else ""


def _number(path: Path, key: str) -> float | None:
    value = _read(path).get(key)
    return value if isinstance(value, int | float) else None


def _read(path: Path) -> dict[str, Any]:
    """What is in a JSON file; nothing if it is missing or damaged."""
    from imagetrail.base.errors import UserError
    from imagetrail.base.files import read_json

    try:
        found = read_json(path)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}
