"""What a stage's run in MLflow holds, from its files: params, figures, curves, parts, pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from imagetrail.base import paths
from imagetrail.base.criteria import Criterion
from imagetrail.base.files import read_csv, read_json
from imagetrail.plots import charts, search
from imagetrail.tracking import inputs, ui_views
from imagetrail.tracking.parts import Part, arm_part, trial_part
from imagetrail.tracking.store import PARENT, PART, SCORE, Store

METRIC_FILES = ("metrics.json", "quality.json", "scores.json", "timing.json")
ENDED = ("FINISHED", "FAILED")


def clock(folder: Path) -> tuple[float | None, float | None]:
    """When the stage with this folder began and ended, in seconds since 1970, if it is known."""
    timing = numbers(folder / "timing.json")
    if "started" not in timing:
        return None, None
    return timing["started"], timing["started"] + timing["seconds"]


def complete(store: Store, run: str, stage: str, locked: Mapping[str, Any], root: Path) -> int:
    """Writes to a stage's run what its files say and it lacks; returns how many runs that made."""
    folder = root / paths.ARTIFACTS / stage
    params, metrics = _params(stage, locked[stage]), _metrics(folder)
    if stage == "train":  # its recipe field by field, as trials and arms have theirs
        store.client.set_tag(run, "seed", str(params["seed"]))
        params = read_json(folder / "recipe.json")
        for name in ("epochs", "valid_top1", "valid_macro_recall"):  # in the curves
            metrics.pop(name, None)
    logged = store.client.get_run(run).data.params
    store.log_params(run, {name: value for name, value in params.items() if name not in logged})
    store.log_metrics(run, metrics)
    if note := _note(stage, folder):
        store.client.set_tag(run, "mlflow.note.content", note)
    made = CURVES[stage](store, run, folder) if stage in CURVES else 0
    by = Criterion(params.get("decide_by", Criterion.TOP1))
    if stage in PICTURES:
        _draw(store, run, PICTURES[stage](folder, by))
    store.log_inputs(run, inputs.used(stage, locked, folder))
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != ".gitignore":
            inside = str(file.parent.relative_to(folder))
            store.client.log_artifact(run, str(file), None if inside == "." else inside)
    return made


def _params(stage: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a stage in dvc.lock, those of its own section by their names in there."""
    params = _flat(entry.get("params", {}).get("params.yaml", {}))
    return {name.removeprefix(f"{stage}."): value for name, value in params.items()}


def _metrics(folder: Path) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for file in METRIC_FILES:
        metrics |= numbers(folder / file)
    metrics.pop("started", None)
    return metrics


def _note(stage: str, folder: Path) -> str:
    """What a stage concluded, in a sentence, for those that conclude something."""
    if stage == "compare":
        return str(read_json(folder / "ranking.json")["verdict"])
    if stage == "gate":
        found = read_json(folder / "decision.json")
        return f"{found['decision']}: {found['reason']}"
    return ""


def _epochs(store: Store, run: str, folder: Path) -> int:
    have = store.steps(run, SCORE)
    rows = _histories(folder)[()]
    store.log_history(run, [row for row in rows if row["epoch"] not in have])
    return 0


def _trials(store: Store, run: str, folder: Path) -> int:
    recipe, histories = read_json(folder / "recipe.json"), _histories(folder, "number")
    parts = [
        trial_part(row, recipe, histories.get((row["number"],), []))
        for row in read_csv(folder / "trials.csv")
    ]
    return _missing(store, run, folder, parts)


def _arms(store: Store, run: str, folder: Path) -> int:
    recipes, keys = read_json(folder / "recipes.json"), ("set", "arm", "seed")
    histories = _histories(folder, *keys)
    parts = [
        arm_part(row, recipes[row["set"]][row["arm"]], histories[tuple(row[key] for key in keys)])
        for row in read_csv(folder / "results.csv")
    ]
    made = _missing(store, run, folder, parts)
    _judge(store, run, recipes, folder)
    return made


CURVES = {"train": _epochs, "tune": _trials, "compare": _arms}


def _intervals(folder: Path, by: Criterion) -> dict[str, search.Draw]:
    """Each set of arms with intervals and verdicts."""
    sets: dict[str, list[Any]] = {}
    for arm in read_json(folder / "ranking.json")["arms"]:
        sets.setdefault(arm["set"], []).append(arm)
    return {name: partial(charts.intervals, arms, by=by) for name, arms in sets.items()}


PICTURES = {"tune": search.pictures, "compare": _intervals}


def _draw(store: Store, run: str, pictures: Mapping[str, search.Draw]) -> None:
    with TemporaryDirectory() as made:
        for name, draw in pictures.items():
            draw(Path(made) / f"{name}.png")
        store.client.log_artifacts(run, made, "pictures")


def _judge(store: Store, run: str, recipes: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Gives all seeds of an arm its colour in the UI, its verdict and its interval."""
    found = {(arm["set"], arm["arm"]): arm for arm in read_json(folder / "ranking.json")["arms"]}
    for child in store.find({PARENT: run}):
        name, arm = child.data.tags["set"], child.data.tags["arm"]
        number, of = list(recipes[name]).index(arm), found[name, arm]
        store.client.set_tag(child.info.run_id, ui_views.COLOUR, ui_views.colour(number))
        store.client.set_tag(child.info.run_id, "verdict", of["verdict"])
        store.log_metrics(child.info.run_id, {key: of[key] for key in ui_views.DIFFERENCE})


def _missing(store: Store, run: str, folder: Path, parts: Sequence[Part]) -> int:
    """Writes the parts that the run lacks, with the times of their stage; returns how many."""
    started, ended = clock(folder)
    known = store.find({PARENT: run})
    whole = {child.data.tags.get(PART) for child in known if child.info.status in ENDED}
    for child in known:
        if child.info.status not in ENDED:  # broken off half-written; written anew below
            store.client.delete_run(child.info.run_id)
    missing = [part for part in parts if part.key not in whole]
    for part in missing:
        store.write(run, replace(part, started=started, ended=ended))
    return len(missing)


def _histories(folder: Path, *keys: str) -> dict[tuple[str, ...], list[dict[str, float]]]:
    """The rows of history.csv in order, by their values of `keys`."""
    found: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for row in read_csv(folder / "history.csv"):
        key = tuple(row.pop(name) for name in keys)
        found.setdefault(key, []).append({name: float(value) for name, value in row.items()})
    return found


def numbers(file: Path) -> dict[str, float]:
    """The numbers at the top level of a JSON file."""
    value = read_json(file) if file.exists() else {}
    pairs = value.items() if isinstance(value, dict) else ()
    return {
        name: float(number)
        for name, number in pairs
        if isinstance(number, int | float) and not isinstance(number, bool)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
