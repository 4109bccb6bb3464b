"""A stage as a command: run, timed, interrupted without a traceback, refused if inputs changed."""

import importlib
import os
import sys
import time
from contextlib import nullcontext

from imagetrail.base.terminal import clock, say


class Interrupted(Exception):
    """Ctrl-C in a stage; on KeyboardInterrupt itself Typer would end without a message."""


LOOK_AT = {  # of a stage's results, what says most about them
    "inspect": "artifacts/inspect/findings",
    "split": "data/split/left_out.csv",
    "audit": "artifacts/audit/suspects.png",
    "augment": "artifacts/augment/pairs.png",
    "synthesise": "artifacts/synthesise/samples.png",
    "tune": "artifacts/tune/trials.csv",
    "compare": "artifacts/compare/ranking.json",
    "train": "artifacts/train/history.csv",
    "crossvalidate": "artifacts/crossvalidate/metrics.json",
    "evaluate": "artifacts/evaluate/mistakes.png",
    "explain": "artifacts/explain/maps",
    "export": "artifacts/export/export.json",
    "gate": "artifacts/gate/disagreements.png",
    "report": "artifacts/report/index.html",
}


def run_stage(name: str, purpose: str) -> None:
    """Runs a stage and writes its timing.json; says first what it is for, last what to look at.

    Raises UserError if params, pictures or code that it depends on were edited meanwhile.
    """
    from imagetrail.base import paths
    from imagetrail.base.files import write_json
    from imagetrail.cli.inputs import unchanged

    first = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun it speaks and writes
    if first:
        say(f"{name}: {purpose}")
    try:
        with unchanged(name) if first else nullcontext():
            module = importlib.import_module(f"imagetrail.stages.{name}.stage")
            started, before = time.time(), time.perf_counter()
            facts: dict[str, float | str] = module.run() or {}
            seconds = time.perf_counter() - before
    except KeyboardInterrupt:
        raise Interrupted from None
    if not first:
        return
    if images := facts.pop("images", None):
        facts["images_per_second"] = float(images) / seconds
    timing = {"started": started, "seconds": seconds, "peak_rss_bytes": _peak_memory(), **facts}
    write_json(paths.artifacts(name) / "timing.json", _rounded(timing))
    look = f"; look at {LOOK_AT[name]}" if name in LOOK_AT else ""
    say(f"{name}: done in {clock(seconds)}{look}")


def _rounded(values: dict[str, float | str]) -> dict[str, float | str]:
    return {
        key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()
    }


def _peak_memory() -> int:
    """The peak in bytes of this process or of the largest of its children."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
