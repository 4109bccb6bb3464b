"""Makes MLflow agree with dvc.lock, from files alone: fills an empty server, catches up."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from imagetrail.base import hashing, paths, pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_csv, read_json
from imagetrail.base.paths import CHAMPION_MODEL
from imagetrail.plots import search
from imagetrail.release import ledger, verification
from imagetrail.tracking import doubles, live, pipeline_run, turns, ui_views
from imagetrail.tracking.live import content_key
from imagetrail.tracking.opening import open_store, shown, uri
from imagetrail.tracking.patience import Bounded, Late, limit, within
from imagetrail.tracking.registry import Exported, register
from imagetrail.tracking.stage_runs import clock, complete
from imagetrail.tracking.store import (
    CONTENT,
    PARENT,
    SCORE,
    STAGE,
    UNREACHABLE,
    WHOLE,
    MlflowClient,
    Run,
    Store,
)


@dataclass(frozen=True)
class Published:
    version: str  # of the pipeline
    made: int  # runs; a second call makes none
    experiment: str
    run: str  # of the pipeline
    champion: str | None  # the run of the pipeline that made the champion


def publish(root: Path = Path()) -> Published:
    """Writes to MLflow what it lacks, and removes what it has twice.

    Raises UserError if nothing has run, files differ from dvc.lock, the champion's signature is in
    doubt, the server is out of reach, or what is called so there is another project's.
    """
    locked = pipeline.lock(root)
    if not locked:
        raise UserError("nothing to publish: dvc.lock is missing or empty; run `dvc repro` first")
    with _reachable(root):
        store = _open(root)
        busy = live.sweep(store, root)
    verification.refuse_differences(root, verification.locked(root, paths.ARTIFACTS))
    ledger.refuse_doubts(root)
    with _reachable(root), turns.turn(store):
        return _publish(store, locked, root, busy)


def follow(root: Path = Path()) -> None:
    """Points the alias `champion` at the model of the ledger's last line.

    Raises UserError if the server is out of reach, or the alias is on another project's model.
    """
    ledger.refuse_doubts(root)
    with _reachable(root):
        store = _open(root)
        with turns.turn(store):
            _champion(store, root)


def _open(root: Path) -> Store:
    """The store, with a client that waits for no server longer than its limit."""
    if uri(root).startswith("sqlite:"):
        return open_store(root)
    with within(limit()):
        store = open_store(root)
    return replace(store, client=cast(MlflowClient, Bounded(store.client)))


@contextmanager
def _reachable(root: Path) -> Iterator[None]:
    try:
        yield
    except (*UNREACHABLE, Late) as error:
        raise UserError(
            f"MLflow at {shown(root)} cannot be reached or refuses: {str(error).splitlines()[0]}"
        ) from None


def _publish(store: Store, locked: dict[str, Any], root: Path, busy: set[str]) -> Published:
    version = pipeline.version(locked)
    clocks = [clock(root / paths.ARTIFACTS / stage) for stage in locked]
    pending = [run for run in live.pending(store, root) if run not in busy]
    began = min((began for began, _ in clocks if began), default=None)
    parent, made = pipeline_run.find_or_make(store, version, pending, started=began)
    known, runs = store.find({PARENT: parent}), {}
    for stage in locked:
        mine = [run for run in known if run.data.tags.get(STAGE) == stage]
        runs[stage], more = _stage(store, parent, mine, stage, locked, root)
        made += more
    if "export" in runs:
        register(store, pipeline.project(root), _challenger(root), alias="challenger", run=parent)
    champion = _champion(store, root)
    _show(store, runs, root)
    ended = max((ended for _, ended in clocks if ended), default=0.0)
    pipeline_run.describe(store, parent, locked, root, ended=ended)
    return Published(version, made, store.experiment, parent, champion)


def _challenger(root: Path) -> Exported:
    """What `export` chose, with the report's short form."""
    path, report = pipeline.challenger(root), root / paths.ARTIFACTS / "report" / "report.md"
    text = report.read_text() if report.exists() else ""
    return Exported(
        path, hashing.sha256(path), text, _origin(root), root / paths.VALID / "images.npy"
    )


def _origin(root: Path) -> dict[str, str]:
    """What the model was trained on: name, content and licence of the data."""
    name = pipeline.dataset(root)
    source = root / paths.RAW / name / "SOURCE.json"
    licence = str(read_json(source).get("licence", "")) if source.exists() else ""
    origin = {"dataset": name, "data": pipeline.data_version(root), "licence": licence}
    return {key: value for key, value in origin.items() if value}


def _champion(store: Store, root: Path) -> str | None:
    """Points the alias at the champion, if there is one; returns the run that it comes from."""
    for last in ledger.read(root)[-1:]:
        now = pipeline.data_version(root) == last.data
        model = Exported(
            root / CHAMPION_MODEL,
            last.model,
            description="",
            tags={
                **(_origin(root) if now else {"data": last.data}),
                "champion": f"{last.action}d as number {last.number} by {last.who}, {last.when}",
            },
            images=root / paths.VALID / "images.npy",
        )
        run = register(store, pipeline.project(root), model, alias="champion")
        return pipeline_run.above(store, run) if run else None
    return None


def _stage(
    store: Store, parent: str, known: list[Run], stage: str, locked: dict[str, Any], root: Path
) -> tuple[str, int]:
    """The run of a stage, whole, and how many runs had to be made for that.

    known: the stage's runs below the pipeline's.
    """
    content = content_key(pipeline.results(locked[stage]))
    started, ended = clock(root / paths.ARTIFACTS / stage)
    same = [run for run in known if run.data.tags.get(CONTENT) == content]
    same = same or [run for run in known if _ended_unheard(run, started, ended)]
    for stale in (run for run in known if run not in same):
        _retire(store, stale)
    same = doubles.keep_one(store, sorted(same, key=_is_lacking), lambda _: content)
    if same and not _is_lacking(same[0]):
        return same[0].info.run_id, 0
    run = (
        same[0].info.run_id
        if same
        else store.create(stage, {PARENT: parent, STAGE: stage}, started=started)
    )
    made = complete(store, run, stage, locked, root)
    store.client.set_tag(run, CONTENT, content)
    if not same or same[0].info.status != "FINISHED":
        store.end(run, "FINISHED", ended=ended)
    store.client.set_tag(run, WHOLE, "true")
    return run, made + (not same)


def _is_lacking(run: Run) -> bool:
    return WHOLE not in run.data.tags


def _ended_unheard(run: Run, started: float | None, ended: float | None) -> bool:
    """Whether a live run is of the process that left the stage's results, unheard by MLflow."""
    begun = run.info.start_time / 1000  # cut to milliseconds, hence one is granted
    return CONTENT not in run.data.tags and (started or 0.0) - 0.001 <= begun <= (ended or 0.0)


def _retire(store: Store, run: Any) -> None:
    """Marks the run of a stage whose results this version lacks: it failed or was run again."""
    if run.info.status != "RUNNING" and not run.info.run_name.endswith("superseded"):
        store.client.update_run(run.info.run_id, name=f"{run.info.run_name} · superseded")


def _show(store: Store, runs: Mapping[str, str], root: Path) -> None:
    """Has the UI offer the views of these stages' runs."""
    folder, wanted = root / paths.ARTIFACTS, [ui_views.pipelines()]
    if "tune" in runs:
        fields = search.fields(search.read(folder / "tune"), folder / "tune")
        wanted.append(ui_views.trials(runs["tune"], fields))
    if "compare" in runs:
        scores: dict[str, list[float]] = {}
        for row in read_csv(folder / "compare" / "results.csv"):
            scores.setdefault(row["set"], []).append(float(row[SCORE]))
        wanted += [
            ui_views.arms(runs["compare"], name, number, of)
            for number, (name, of) in enumerate(scores.items(), 1)
        ]
    known = store.client.get_experiment(store.experiment).tags
    wanted += ui_views.front_page(store.experiment, wanted, known)
    for tag, value in wanted:
        if known.get(tag) != value:
            store.client.set_experiment_tag(store.experiment, tag, value)
