"""What a stage's run in MLflow holds, taken from its files: params, figures, curves, child runs, pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from imagetrail.base import paths
from imagetrail.base.files import read_csv, read_json
from imagetrail.plots import search
from imagetrail.tracking import ui_views
from imagetrail.tracking.store import PARENT, PART, Part, Store, arm_part, trial_part

METRIC_FILES = (
    "metrics.json",
    "quality.json",
    "scores.json",
    "timing.json",
)  # whose numbers are results
ENDED = ("FINISHED", "FAILED")


def clock(folder: Path) -> tuple[float | None, float | None]:
    """When the stage with this folder began and ended, in seconds since 1970, as far as its timing.json is here."""
    timing = numbers(folder / "timing.json")
    return (
        (timing["started"], timing["started"] + timing["seconds"])
        if "started" in timing
        else (None, None)
    )


def complete(store: Store, run: str, stage: str, entry: dict[str, Any], root: Path) -> int:
    """Writes to a stage's run all that its files say and it does not have; returns how many runs that made."""
    folder = root / paths.ARTIFACTS / stage
    params = _flat(entry.get("params", {}).get("params.yaml", {}))
    params = {name.removeprefix(f"{stage}."): value for name, value in params.items()}
    metrics = {
        name: value
        for file in METRIC_FILES
        for name, value in numbers(folder / file).items()
        if name != "started"
    }
    if (
        stage == "train"
    ):  # the recipe's fields by their own names, so that the run compares with trials and arms
        store.client.set_tag(run, "seed", str(params["seed"]))
        params = read_json(folder / "recipe.json")
        metrics = {
            name: value for name, value in metrics.items() if name not in ("epochs", "valid_top1")
        }  # in the curves
    logged = store.client.get_run(run).data.params
    store.log_params(run, {name: value for name, value in params.items() if name not in logged})
    store.log_metrics(run, metrics)
    if note := _note(stage, folder):
        store.client.set_tag(run, "mlflow.note.content", note)
    made = PARTS[stage](store, run, folder) if stage in PARTS else 0
    if stage == "tune":
        _draw(store, run, folder)
    if stage == "compare":
        _colour(store, run, folder)
    data = {
        dep["path"]: dep["md5"] for dep in entry.get("deps", ()) if dep["path"].startswith("data/")
    }
    store.log_inputs(run, data)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != ".gitignore":
            inside = str(file.parent.relative_to(folder))
            store.client.log_artifact(run, str(file), None if inside == "." else inside)
    return made


def _note(stage: str, folder: Path) -> str:
    """What a stage concluded, in a sentence, for those that conclude something."""
    if stage == "compare":
        return str(read_json(folder / "ranking.json")["verdict"])
    if stage == "gate":
        found = read_json(folder / "decision.json")
        return f"{found['decision']}: {found['reason']}"
    return ""


def _epochs(store: Store, run: str, folder: Path) -> int:
    have = store.steps(run, "valid_loss")
    rows = [_row(row) for row in read_csv(folder / "history.csv")]
    store.log_history(run, [row for row in rows if row["epoch"] not in have])
    return 0


def _trials(store: Store, run: str, folder: Path) -> int:
    recipe = read_json(folder / "recipe.json")
    rows = read_csv(folder / "trials.csv")
    return _missing(
        store,
        run,
        folder,
        [trial_part(row, recipe, _history(folder, number=row["number"])) for row in rows],
    )


def _arms(store: Store, run: str, folder: Path) -> int:
    recipes = read_json(folder / "recipes.json")
    parts = []
    for row in read_csv(folder / "results.csv"):
        history = _history(folder, **{name: row[name] for name in ("set", "arm", "seed")})
        parts.append(arm_part(row, recipes[row["set"]][row["arm"]], history))
    return _missing(store, run, folder, parts)


PARTS = {"train": _epochs, "tune": _trials, "compare": _arms}


def _draw(store: Store, run: str, folder: Path) -> None:
    with TemporaryDirectory() as made:
        for name, draw in search.pictures(folder).items():
            draw(Path(made) / f"{name}.png")
        store.client.log_artifacts(run, made, "pictures")


def _colour(store: Store, run: str, folder: Path) -> None:
    """Gives all seeds of an arm one colour in the UI."""
    recipes = read_json(folder / "recipes.json")
    for child in store.find({PARENT: run}):
        number = list(recipes[child.data.tags["set"]]).index(child.data.tags["arm"])
        store.client.set_tag(child.info.run_id, ui_views.COLOUR, ui_views.colour(number))


def _missing(store: Store, run: str, folder: Path, parts: Sequence[Part]) -> int:
    """Writes the parts that the run does not have whole, with the times of their stage; returns how many."""
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


def _history(folder: Path, **which: str) -> list[dict[str, float]]:
    rows = [
        row
        for row in read_csv(folder / "history.csv")
        if all(row[name] == value for name, value in which.items())
    ]
    return [_row({name: value for name, value in row.items() if name not in which}) for row in rows]


def _row(row: Mapping[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items()}


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
        found |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, Mapping)
            else {f"{prefix}{name}": value}
        )
    return found
