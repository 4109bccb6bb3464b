"""The run of a version of the pipeline in MLflow, above those of its stages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.files import read_json
from imagetrail.release import git_dvc
from imagetrail.tracking import doubles, run_facts
from imagetrail.tracking.opening import uri
from imagetrail.tracking.stage_runs import numbers
from imagetrail.tracking.store import PARENT, VERSION, WHOLE, Store

# figures of evaluate that it has, as `test_…`; of the calibrated answers, as the report has them
HEADLINE = (
    "top1",
    "top1_low",
    "top1_high",
    "macro_recall",
    "macro_f1",
    "log_loss_calibrated",
    "ece_calibrated",
)
PARTS = (str(paths.TRAIN), str(paths.VALID), str(paths.TEST))


def find_or_make(
    store: Store, version: str, pending: list[str], *, started: float | None
) -> tuple[str, int]:
    """The run of this version of the pipeline, and how many had to be made for it: 0 or 1."""
    known = sorted(store.find({VERSION: version}), key=lambda run: WHOLE not in run.data.tags)
    known = doubles.keep_one(store, known, lambda _: version)
    for leftover in pending if known else pending[:-1]:
        store.client.set_tag(leftover, VERSION, "abandoned")
        store.end(leftover, "KILLED")
    if known:
        return str(known[0].info.run_id), 0
    name = f"pipeline {version[:7]}"
    if not pending:
        return store.create(name, {VERSION: version}, started=started), 1
    store.client.set_tag(pending[-1], VERSION, version)
    store.client.update_run(pending[-1], name=name)
    return pending[-1], 0


def above(store: Store, run: str) -> str:
    """The pipeline's run above a stage's, or that run itself."""
    return str(store.client.get_run(run).data.tags.get(PARENT, run))


def describe(
    store: Store, parent: str, locked: Mapping[str, Any], root: Path, *, ended: float
) -> None:
    """Gives it its commit, params, data sets, headline figures and the report."""
    run = store.client.get_run(parent)
    for tag, value in _git_facts(root).items():
        if run.data.tags.get(tag) != value:
            store.client.set_tag(parent, tag, value)
    if WHOLE in run.data.tags:
        return
    params = {k: value for k, value in _params(root).items() if k not in run.data.params}
    store.log_params(parent, params)
    store.log_inputs(parent, _parts(locked))
    figures = numbers(root / paths.ARTIFACTS / "evaluate" / "metrics.json")
    store.log_metrics(
        parent, {f"test_{name}": value for name, value in figures.items() if name in HEADLINE}
    )
    report = root / paths.ARTIFACTS / "report"
    if (report / "report.md").exists():
        store.client.set_tag(parent, "mlflow.note.content", (report / "report.md").read_text())
    with run_facts.page(root, run_facts.links(uri(root), store.experiment, parent)) as page:
        for file in (page, root / "dvc.lock", root / "params.yaml"):
            if file.exists():
                store.client.log_artifact(parent, str(file))
    # without a source, the UI hides the commit
    store.client.set_tag(parent, "mlflow.source.name", "dvc repro")
    store.end(parent, "FINISHED", ended=max(ended, run.info.start_time / 1000))
    store.client.set_tag(parent, WHOLE, "true")


def _params(root: Path) -> dict[str, Any]:
    """The recipe of the training, field by field as trials and arms have theirs."""
    file = root / paths.ARTIFACTS / "train" / "recipe.json"
    return dict(read_json(file)) if file.exists() else {}


def _parts(locked: Mapping[str, Any]) -> dict[str, str]:
    """The pictures by content: those that the model has learned from, and those that judge it."""
    outs = {out["path"]: out["md5"] for entry in locked.values() for out in entry.get("outs", ())}
    return {path: outs[path] for path in PARTS if path in outs}


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
