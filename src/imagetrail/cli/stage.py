"""A stage as a command: run, timed, interrupted without a traceback."""

import importlib
import os
import sys
import time


class Interrupted(Exception):
    """Ctrl-C in a stage, under another name: Typer would end on KeyboardInterrupt without a word."""


def run_stage(name: str) -> None:
    """Runs a stage and notes what it took in its timing.json."""
    from imagetrail.base import paths
    from imagetrail.base.files import write_json

    try:
        module = importlib.import_module(f"imagetrail.stages.{name}.stage")
        started, before = time.time(), time.perf_counter()
        facts: dict[str, float | str] = module.run() or {}
    except KeyboardInterrupt:
        raise Interrupted from None
    seconds = time.perf_counter() - before
    if (
        os.environ.get("RANK", "0") != "0"
    ):  # of several processes that torchrun has started, the first one writes
        return
    if images := facts.pop("images", None):
        facts["images_per_second"] = float(images) / seconds
    timing = {"started": started, "seconds": seconds, "peak_rss_bytes": _peak_memory(), **facts}
    rounded = {
        key: round(value, 3) if isinstance(value, float) else value for key, value in timing.items()
    }
    write_json(paths.artifacts(name) / "timing.json", rounded)


def _peak_memory() -> int:
    """Bytes that this process, or the largest of its children, has held at most."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
