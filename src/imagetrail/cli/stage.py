"""A stage as a command: run, timed, interrupted without a traceback, refused if inputs changed."""

import importlib
import os
import sys
import time
from contextlib import nullcontext


class Interrupted(Exception):
    """Ctrl-C in a stage; on KeyboardInterrupt itself Typer would end without a message."""


def run_stage(name: str) -> None:
    """Runs a stage and writes its timing.json.

    Raises UserError if params, pictures or code that it depends on were edited meanwhile.
    """
    from imagetrail.base import paths
    from imagetrail.base.files import write_json
    from imagetrail.cli.inputs import unchanged
    from imagetrail.cli.place import refuse_place

    refuse_place()
    # of the processes of torchrun the first one writes, and looks
    first = os.environ.get("RANK", "0") == "0"
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
