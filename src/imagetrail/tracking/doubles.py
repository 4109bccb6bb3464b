"""Runs that say the same: of two publishes at once each may have made its own."""

from collections.abc import Callable, Iterable

from imagetrail.tracking.live import ROOT
from imagetrail.tracking.store import PARENT, Run, Store


def keep_one(store: Store, runs: Iterable[Run], key: Callable[[Run], str | None]) -> list[Run]:
    """Those that stay: of runs with the same key the first; others go, with all below them.

    What was written while a stage ran stays: it has what no file has.
    """
    kept: list[Run] = []
    seen: set[str] = set()
    for run in runs:
        name = key(run)
        if name in seen and ROOT not in run.data.tags:
            remove(store, run)
        else:
            kept.append(run)
            seen |= {name} if name else set()
    return kept


def remove(store: Store, run: Run) -> None:
    """Moves a run, and all below it, into MLflow's trash."""
    for child in store.find({PARENT: run.info.run_id}):
        remove(store, child)
    store.client.delete_run(run.info.run_id)
