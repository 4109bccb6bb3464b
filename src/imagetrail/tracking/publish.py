"""Makes MLflow agree with dvc.lock, from files alone: fills an empty server, catches up."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagetrail.base import hashing, paths, pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_json
from imagetrail.base.paths import CHAMPION_MODEL
from imagetrail.plots import search
from imagetrail.release import git_dvc, ledger, verification
from imagetrail.tracking import live, run_facts, ui_views
from imagetrail.tracking.live import content_key
from imagetrail.tracking.registry import register
from imagetrail.tracking.stage_runs import clock, complete, numbers
from imagetrail.tracking.store import (
    CONTENT,
    PARENT,
    STAGE,
    UNREACHABLE,
    VERSION,
    Run,
    Store,
    open_store,
    uri,
)

WHOLE = "imagetrail.whole"  # tag of a stage's run that has all there is to say
# figures of evaluate that the pipeline's run has
HEADLINE = ("top1", "top1_low", "top1_high", "macro_f1", "log_loss", "ece_calibrated")


def publish(root: Path = Path()) -> tuple[str, int]:
    """Returns the version of the pipeline, and how many runs it made: a second call none.

    Raises UserError if nothing has run, files differ from dvc.lock, or the server is out of reach.
    """
    locked = pipeline.lock(root)
    if not locked:
        raise UserError("nothing to publish: dvc.lock is missing or empty; run `dvc repro` first")
    with _reachable(root):
        store = open_store(root)
        busy = live.sweep(store, root)
    verification.refuse_differences(root, verification.locked(root, paths.ARTIFACTS))
    with _reachable(root):
        return _publish(store, locked, root, busy)


def follow(root: Path = Path()) -> None:
    """Points the alias `champion` at the model of the ledger's last line.

    Raises UserError if the server is out of reach.
    """
    with _reachable(root):
        _champion(open_store(root), root)


@contextmanager
def _reachable(root: Path) -> Iterator[None]:
    try:
        yield
    except UNREACHABLE as error:
        raise UserError(
            f"MLflow at {uri(root)} cannot be reached or refuses: {str(error).splitlines()[0]}"
        ) from None


def _champion(store: Store, root: Path) -> None:
    for last in ledger.read(root)[-1:]:
        description = f"{last.action}d as number {last.number} by {last.who}, {last.when}"
        name, path = pipeline.dataset(root), root / CHAMPION_MODEL
        register(store, name, last.model, path, alias="champion", description=description)


def _publish(store: Store, locked: dict[str, Any], root: Path, busy: set[str]) -> tuple[str, int]:
    version = pipeline.version(locked)
    clocks = [clock(root / paths.ARTIFACTS / stage) for stage in locked]
    pending = [run for run in live.pending(store, root) if run not in busy]
    parent, made = _pipeline_run(
        store, version, pending, started=min((began for began, _ in clocks if began), default=None)
    )
    known, runs = store.find({PARENT: parent}), {}
    for stage, entry in locked.items():
        mine = [run for run in known if run.data.tags.get(STAGE) == stage]
        runs[stage], more = _stage(store, parent, mine, stage, entry, root)
        made += more
    if "export" in runs:
        name, path, description = pipeline.dataset(root), pipeline.challenger(root), _headline(root)
        facts = {"alias": "challenger", "run": runs["export"], "description": description}
        register(store, name, hashing.sha256(path), path, **facts)
    _champion(store, root)
    _show(store, runs, root)
    _describe(store, parent, root, ended=max((ended for _, ended in clocks if ended), default=0.0))
    return version, made


def _stage(
    store: Store, parent: str, known: list[Run], stage: str, entry: dict[str, Any], root: Path
) -> tuple[str, int]:
    """The run of a stage, whole, and how many runs had to be made for that.

    known: the stage's runs below the pipeline's.
    """
    content = content_key(pipeline.results(entry))
    started, ended = clock(root / paths.ARTIFACTS / stage)
    same = [run for run in known if run.data.tags.get(CONTENT) == content]
    same = same or [run for run in known if _ended_unheard(run, started, ended)]
    for stale in (run for run in known if run not in same):
        _retire(store, stale)
    if same and WHOLE in same[0].data.tags:
        return same[0].info.run_id, 0
    run = (
        same[0].info.run_id
        if same
        else store.create(stage, {PARENT: parent, STAGE: stage}, started=started)
    )
    made = complete(store, run, stage, entry, root)
    store.client.set_tag(run, CONTENT, content)
    if not same or same[0].info.status != "FINISHED":
        store.end(run, "FINISHED", ended=ended)
    store.client.set_tag(run, WHOLE, "true")
    return run, made + (not same)


def _ended_unheard(run: Run, started: float | None, ended: float | None) -> bool:
    """Whether a live run is of the process that left the stage's results, unheard by MLflow."""
    begun = run.info.start_time / 1000  # cut to milliseconds, hence one is granted
    return CONTENT not in run.data.tags and (started or 0.0) - 0.001 <= begun <= (ended or 0.0)


def _pipeline_run(
    store: Store, version: str, pending: list[str], *, started: float | None
) -> tuple[str, int]:
    """The run of this version of the pipeline, and how many had to be made for it: 0 or 1."""
    known = store.find({VERSION: version})
    for leftover in pending if known else pending[:-1]:
        store.client.set_tag(leftover, VERSION, "abandoned")
        store.end(leftover, "KILLED")
    if known:
        return known[0].info.run_id, 0
    name = f"pipeline {version[:7]}"
    if not pending:
        return store.create(name, {VERSION: version}, started=started), 1
    store.client.set_tag(pending[-1], VERSION, version)
    store.client.update_run(pending[-1], name=name)
    return pending[-1], 0


def _retire(store: Store, run: Any) -> None:
    """Marks the run of a stage whose results this version lacks: it failed or was run again."""
    if run.info.status != "RUNNING" and not run.info.run_name.endswith("superseded"):
        store.client.update_run(run.info.run_id, name=f"{run.info.run_name} · superseded")


def _describe(store: Store, parent: str, root: Path, *, ended: float) -> None:
    """Gives the pipeline's run its commit, its headline figures and the report."""
    with run_facts.page(root, run_facts.links(uri(root), store.experiment, parent)) as page:
        _fill(store, parent, root, page, ended=ended)


def _fill(store: Store, parent: str, root: Path, page: Path, *, ended: float) -> None:
    """page: the report, as it goes to MLflow."""
    run = store.client.get_run(parent)
    for tag, value in _git_facts(root).items():
        if run.data.tags.get(tag) != value:
            store.client.set_tag(parent, tag, value)
    if run.info.status == "FINISHED":
        return
    figures = numbers(root / paths.ARTIFACTS / "evaluate" / "metrics.json")
    store.log_metrics(
        parent, {f"test_{name}": value for name, value in figures.items() if name in HEADLINE}
    )
    report = root / paths.ARTIFACTS / "report"
    if (report / "report.md").exists():
        store.client.set_tag(parent, "mlflow.note.content", (report / "report.md").read_text())
    for file in (page, root / "dvc.lock", root / "params.yaml"):
        if file.exists():
            store.client.log_artifact(parent, str(file))
    # without a source, the UI hides the commit
    store.client.set_tag(parent, "mlflow.source.name", "dvc repro")
    store.end(parent, "FINISHED", ended=max(ended, run.info.start_time / 1000))


def _git_facts(root: Path) -> dict[str, str]:
    """The commit that holds this very dvc.lock, else the current one; empty outside git."""
    status = git_dvc.git(root, "status", "--porcelain", "--", "dvc.lock")
    known = git_dvc.git(root, "ls-files", "dvc.lock")
    held = status == "" and known != ""
    commit = git_dvc.git(root, "log", "-1", "--format=%H", *(["--", "dvc.lock"] if held else []))
    return (
        {"mlflow.source.git.commit": commit, "imagetrail.committed": str(held).lower()}
        if commit
        else {}
    )


def _headline(root: Path) -> str:
    """What was found of the model, in a line."""
    figures = numbers(root / paths.ARTIFACTS / "evaluate" / "metrics.json")
    if not figures:
        return ""
    interval = f"95 %: {figures['top1_low']:.2%} – {figures['top1_high']:.2%}"
    return f"top-1 {figures['top1']:.2%} on {figures['n']:.0f} test images, {interval}"


def _show(store: Store, runs: Mapping[str, str], root: Path) -> None:
    """Has the UI offer the views of these stages' runs."""
    folder, wanted = root / paths.ARTIFACTS, [ui_views.pipelines()]
    if "tune" in runs:
        fields = search.fields(search.read(folder / "tune"), folder / "tune")
        wanted.append(ui_views.trials(runs["tune"], fields))
    if "compare" in runs:
        sets = read_json(folder / "compare" / "recipes.json")
        wanted += [
            ui_views.arms(runs["compare"], name, number) for number, name in enumerate(sets, 1)
        ]
    known = store.client.get_experiment(store.experiment).tags
    for tag, value in wanted:
        if known.get(tag) != value:
            store.client.set_experiment_tag(store.experiment, tag, value)
