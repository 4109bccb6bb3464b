"""Makes MLflow agree with dvc.lock, from files alone: an empty server is filled, an outage is caught up with."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagetrail import layout, ledger, pipeline, verification, versioning
from imagetrail.errors import UserError
from imagetrail.files import read_csv
from imagetrail.tracking import (
    CONTENT,
    PARENT,
    PART,
    PENDING,
    ROOT,
    STAGE,
    UNREACHABLE,
    VERSION,
    Part,
    Store,
    arm_part,
    content_key,
    here,
    open_store,
    trial_part,
    uri,
)

WHOLE = "imagetrail.whole"  # tag of a stage's run that has all there is to say
ENDED = ("FINISHED", "FAILED")
METRIC_FILES = ("metrics.json", "quality.json", "scores.json", "timing.json")  # whose numbers are results
HEADLINE = ("top1", "top1_low", "top1_high", "macro_f1", "log_loss", "ece_calibrated")  # of the pipeline's run


def publish(root: Path = Path()) -> tuple[str, int]:
    """Returns the version of the pipeline, and how many runs had to be made; a second call makes none.

    Raises UserError if nothing has run, files differ from dvc.lock, or the server is out of reach.
    """
    locked = pipeline.lock(root)
    if not locked:
        raise UserError("nothing to publish: dvc.lock is missing or empty; run `dvc repro` first")
    verification.refuse_differences(root, verification.locked(root, layout.ARTIFACTS))
    with _reachable(root):
        return _publish(open_store(root), locked, root)


def follow(root: Path = Path()) -> None:
    """Points the alias `champion` at the model of the ledger's last line. Raises UserError if the server is out of reach."""
    with _reachable(root):
        _champion(open_store(root), root)


@contextmanager
def _reachable(root: Path) -> Iterator[None]:
    try:
        yield
    except UNREACHABLE as error:
        raise UserError(f"MLflow at {uri(root)} cannot be reached or refuses: {str(error).splitlines()[0]}") from None


def _champion(store: Store, root: Path) -> None:
    for last in ledger.read(root)[-1:]:
        said = f"{last.action}d as number {last.number} by {last.who}, {last.when}"
        store.register(pipeline.dataset(root), last.model, root / ledger.MODEL, alias="champion", description=said)


def _publish(store: Store, locked: dict[str, Any], root: Path) -> tuple[str, int]:
    version = pipeline.version(locked)
    parent, made = _pipeline_run(store, version, root)
    known = store.find({PARENT: parent})
    for stage, entry in locked.items():
        content = content_key(pipeline.results(entry))
        mine = [run for run in known if run.data.tags.get(STAGE) == stage]
        same = [run for run in mine if run.data.tags.get(CONTENT) == content]
        for stale in (run for run in mine if run not in same):
            _retire(store, stale)
        clock = _clock(root, stage)
        run = same[0].info.run_id if same else store.create(stage, {PARENT: parent, STAGE: stage}, started=clock[0])
        made += not same
        if not same or WHOLE not in same[0].data.tags:
            made += _complete(store, run, stage, entry, root)
            store.client.set_tag(run, CONTENT, content)
            if not same or same[0].info.status != "FINISHED":
                store.end(run, "FINISHED", ended=clock[1])
            store.client.set_tag(run, WHOLE, "true")
        if stage == "export":
            path, name = pipeline.challenger(root), pipeline.dataset(root)
            model = versioning.sha256(path)
            store.register(name, model, path, alias="challenger", run=run, description=_headline(root))
    _champion(store, root)
    _describe(store, parent, root)
    return version, made


def _pipeline_run(store: Store, version: str, root: Path) -> tuple[str, int]:
    """The run of this version of the pipeline, and how many had to be made for it: 0 or 1."""
    pending = store.find({VERSION: PENDING, ROOT: here(root)})
    known = store.find({VERSION: version})
    for leftover in pending if known else pending[:-1]:
        store.client.set_tag(leftover.info.run_id, VERSION, "abandoned")
        store.end(leftover.info.run_id, "KILLED")
    if known:
        return known[0].info.run_id, 0
    name = f"pipeline {version[:7]}"
    if not pending:
        return store.create(name, {VERSION: version}), 1
    run = str(pending[-1].info.run_id)
    store.client.set_tag(run, VERSION, version)
    store.client.update_run(run, name=name)
    return run, 0


def _retire(store: Store, run: Any) -> None:
    """Marks the run of a stage whose results this version does not have: an attempt that failed or was run again."""
    if run.info.status == "RUNNING":
        store.end(run.info.run_id, "KILLED")
    if not run.info.run_name.endswith("superseded"):
        store.client.update_run(run.info.run_id, name=f"{run.info.run_name} · superseded")


def _describe(store: Store, parent: str, root: Path) -> None:
    """Gives the pipeline's run its commit, its headline figures and the report."""
    run = store.client.get_run(parent)
    for tag, value in _git_facts(root).items():
        if run.data.tags.get(tag) != value:
            store.client.set_tag(parent, tag, value)
    if run.info.status == "FINISHED":
        return
    figures = _numbers(root / layout.ARTIFACTS / "evaluate" / "metrics.json")
    store.log_metrics(parent, {f"test_{name}": value for name, value in figures.items() if name in HEADLINE})
    report = root / layout.ARTIFACTS / "report"
    if (report / "report.md").exists():
        store.client.set_tag(parent, "mlflow.note.content", (report / "report.md").read_text())
    for file in (report / "index.html", root / "dvc.lock", root / "params.yaml"):
        if file.exists():
            store.client.log_artifact(parent, str(file))
    store.client.set_tag(parent, "mlflow.source.name", "dvc repro")  # without one, the UI hides the commit
    store.end(parent, "FINISHED")


def _git_facts(root: Path) -> dict[str, str]:
    """The commit that holds this very dvc.lock, or the current one, marked as not holding it; empty outside git."""
    status, known = (
        versioning.git(root, "status", "--porcelain", "--", "dvc.lock"),
        versioning.git(root, "ls-files", "dvc.lock"),
    )
    held = status == "" and known != ""
    commit = versioning.git(root, "log", "-1", "--format=%H", *(["--", "dvc.lock"] if held else []))
    return {"mlflow.source.git.commit": commit, "imagetrail.committed": str(held).lower()} if commit else {}


def _headline(root: Path) -> str:
    """What was found of the model, in a line."""
    figures = _numbers(root / layout.ARTIFACTS / "evaluate" / "metrics.json")
    if not figures:
        return ""
    interval = f"95 %: {figures['top1_low']:.2%} – {figures['top1_high']:.2%}"
    return f"top-1 {figures['top1']:.2%} on {figures['n']:.0f} test images, {interval}"


def _clock(root: Path, stage: str) -> tuple[float | None, float | None]:
    """When a stage began and ended, in seconds since 1970, as far as its timing.json is here."""
    timing = _numbers(root / layout.ARTIFACTS / stage / "timing.json")
    return (timing["started"], timing["started"] + timing["seconds"]) if "started" in timing else (None, None)


def _complete(store: Store, run: str, stage: str, entry: dict[str, Any], root: Path) -> int:
    """Writes to a stage's run all that its files say and it does not have; returns how many runs that made."""
    folder = root / layout.ARTIFACTS / stage
    params = _flat(entry.get("params", {}).get("params.yaml", {}))
    params = {name.removeprefix(f"{stage}."): value for name, value in params.items()}
    numbers = {name: value for file in METRIC_FILES for name, value in _numbers(folder / file).items() if name != "started"}
    if stage == "train":  # the recipe's fields by their own names, so that the run compares with trials and arms
        params = json.loads((folder / "recipe.json").read_text()) | {"seed": params["seed"]}
        params |= {name: int(numbers.pop(name)) for name in ("parameters", "flops_forward")}
        numbers = {name: value for name, value in numbers.items() if name not in ("epochs", "valid_top1")}  # in the curves
    logged = store.client.get_run(run).data.params
    store.log_params(run, {name: value for name, value in params.items() if name not in logged})
    store.log_metrics(run, numbers)
    if note := _note(stage, folder):
        store.client.set_tag(run, "mlflow.note.content", note)
    made = PARTS[stage](store, run, folder) if stage in PARTS else 0
    data = {dep["path"]: dep["md5"] for dep in entry.get("deps", ()) if dep["path"].startswith("data/")}
    store.log_inputs(run, data)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != ".gitignore":
            inside = str(file.parent.relative_to(folder))
            store.client.log_artifact(run, str(file), None if inside == "." else inside)
    return made


def _note(stage: str, folder: Path) -> str:
    """What a stage concluded, in a sentence, for those that conclude something."""
    if stage == "compare":
        return str(json.loads((folder / "ranking.json").read_text())["verdict"])
    if stage == "gate":
        found = json.loads((folder / "decision.json").read_text())
        return f"{found['decision']}: {found['reason']}"
    return ""


def _epochs(store: Store, run: str, folder: Path) -> int:
    have = store.steps(run, "valid_loss")
    rows = [_row(row) for row in read_csv(folder / "history.csv")]
    store.log_history(run, [row for row in rows if row["epoch"] not in have])
    return 0


def _trials(store: Store, run: str, folder: Path) -> int:
    recipe = json.loads((folder / "recipe.json").read_text())
    rows = read_csv(folder / "trials.csv")
    return _missing(store, run, [trial_part(row, recipe, _history(folder, number=row["number"])) for row in rows])


def _arms(store: Store, run: str, folder: Path) -> int:
    recipes = json.loads((folder / "recipes.json").read_text())
    rows = read_csv(folder / "results.csv")
    parts = [
        arm_part(
            row, recipes[row["set"]][row["arm"]], _history(folder, **{name: row[name] for name in ("set", "arm", "seed")})
        )
        for row in rows
    ]
    return _missing(store, run, parts)


PARTS = {"train": _epochs, "tune": _trials, "compare": _arms}


def _missing(store: Store, run: str, parts: Sequence[Part]) -> int:
    """Writes the parts that the run does not have whole; returns how many."""
    known = store.find({PARENT: run})
    whole = {child.data.tags.get(PART) for child in known if child.info.status in ENDED}
    for child in known:
        if child.info.status not in ENDED:  # broken off half-written; written anew below
            store.client.delete_run(child.info.run_id)
    missing = [part for part in parts if part.key not in whole]
    for part in missing:
        store.write(run, part)
    return len(missing)


def _history(folder: Path, **which: str) -> list[dict[str, float]]:
    rows = [row for row in read_csv(folder / "history.csv") if all(row[name] == value for name, value in which.items())]
    return [_row({name: value for name, value in row.items() if name not in which}) for row in rows]


def _row(row: Mapping[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items()}


def _numbers(file: Path) -> dict[str, float]:
    """The numbers at the top level of a JSON file."""
    value = json.loads(file.read_text()) if file.exists() else {}
    pairs = value.items() if isinstance(value, dict) else ()
    return {
        name: float(number) for name, number in pairs if isinstance(number, int | float) and not isinstance(number, bool)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
