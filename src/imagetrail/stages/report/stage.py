"""Tell the whole story on one page. Reads artifacts, writes artifacts/report.

No clock figure is on it, so that equal results make an equal page.
"""

import base64
import io
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

from jinja2 import Environment, PackageLoader, StrictUndefined

from imagetrail.base import paths
from imagetrail.base.criteria import Criterion
from imagetrail.base.files import read_csv, read_json, replacing
from imagetrail.base.params import load, read_yaml
from imagetrail.base.terminal import say
from imagetrail.plots import charts, search

FACTS = {  # what the templates call it: the file
    "data": "inspect/report.json",
    "audit": "audit/metrics.json",
    "labels": "augment/labels.json",
    "quality": "synthesise/quality.json",
    "train": "train/metrics.json",
    "recipe": "train/recipe.json",
    "ranking": "compare/ranking.json",
    "crossed": "crossvalidate/metrics.json",
    "test": "evaluate/metrics.json",
    "classes": "evaluate/classes.json",
    "scores": "explain/scores.json",
    "exported": "export/export.json",
    "gate": "gate/decision.json",
}
SUSPECTS = 20  # rows of the table of likely label errors


def run() -> None:
    facts = _facts()
    pictures = _files() | _drawn(facts)
    environment = Environment(
        loader=PackageLoader("imagetrail.stages.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "thousands": _thousands,
        "short": _short,
        "points": _points,
    }
    folder = paths.artifacts("report")
    for name, template in (("index.html", "report.html.j2"), ("report.md", "report.md.j2")):
        with replacing(folder / name) as temporary:
            temporary.write_text(
                environment.get_template(template).render(pictures=pictures, **facts) + "\n"
            )
    say(f"{(folder / 'index.html').resolve().as_uri()}")


def _facts() -> dict[str, Any]:
    """What the stages found, by the names that the templates use."""
    folder = paths.ARTIFACTS
    found = {name: read_json(folder / file) for name, file in FACTS.items()}
    history = [
        {name: float(value) for name, value in row.items()}
        for row in read_csv(folder / "train/history.csv")
    ]
    sets: dict[str, list[Any]] = {row["set"]: [] for row in found["ranking"]["sets"]}
    for arm in found["ranking"]["arms"]:
        sets[arm["set"]].append(arm)
    return found | {
        "sets": sets,
        "suspects": read_csv(paths.LABEL_ERRORS)[:SUSPECTS],
        "slices": _weakest(read_csv(folder / "evaluate/slices.csv"), found["test"]["n"]),
        "activity": read_csv(folder / "train/activity.csv"),
        "dataset": load(str, "data.name"),
        "by": load(Criterion, "decide_by"),
        "best": read_yaml(folder / "tune/best.yaml"),
        "trials": search.read(folder / "tune"),
        "history": history,
        "maps": [file.stem for file in sorted((folder / "explain/maps").glob("*.png"))],
        "sheets": [file.stem for file in sorted((folder / "inspect/classes").glob("*.png"))],
    }


def _weakest(rows: list[dict[str, str]], images: int, count: int = 10) -> list[dict[str, str]]:
    """The slices that the model is most often wrong on, without classes: they have a table."""
    parts = [row for row in rows if row["column"] != "class" and int(row["images"]) < images]
    return sorted(parts, key=lambda row: float(row["top1"]))[:count]


def _files() -> dict[str, str]:
    """The pictures that other stages made."""
    folders = (
        "audit",
        "augment",
        "evaluate",
        "explain/maps",
        "gate",
        "inspect/classes",
        "synthesise",
    )
    files = {
        file.stem: file
        for folder in folders
        for file in sorted((paths.ARTIFACTS / folder).glob("*.png"))
    }
    found = sorted((paths.ARTIFACTS / "inspect/findings").glob("*.png"))
    files |= {f"finding {file.stem}": file for file in found}
    return {name: base64.b64encode(file.read_bytes()).decode() for name, file in files.items()}


def _drawn(facts: dict[str, Any]) -> dict[str, str]:
    """The pictures of figures: drawn here, so that a change of style repeats no training."""
    by = facts["by"]
    drawn: dict[str, Callable[[BinaryIO], None]] = {}
    drawn["history"] = partial(charts.history, facts["history"], by=by)
    drawn |= search.pictures(paths.artifacts("tune"), by)
    for name, arms in facts["sets"].items():
        drawn[f"arms of {name}"] = partial(charts.intervals, arms, by=by)
    return {name: _picture(draw) for name, draw in drawn.items()}


def _picture(draw: Callable[[BinaryIO], None]) -> str:
    buffer = io.BytesIO()
    draw(buffer)
    return base64.b64encode(buffer.getvalue()).decode()


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")


def _thousands(value: int) -> str:
    return f"{value:,}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
