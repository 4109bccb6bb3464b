"""Tell the whole story on one page. Reads artifacts and test, writes artifacts/report.

No clock figure is on it, so that equal results make an equal page: run.js beside it, which is no
result, brings the times when the page is opened; `imagetrail publish` puts them into its copy.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from imagetrail.base import paths, samples
from imagetrail.base.criteria import Criterion
from imagetrail.base.files import replacing
from imagetrail.base.terminal import say
from imagetrail.plots import search
from imagetrail.stages.report import (
    answers,
    confidence_figures,
    confusions,
    facts,
    figures,
    map_figures,
    search_figures,
    words,
)
from imagetrail.stages.report.confusions import Confusions
from imagetrail.stages.report.facts import Facts
from imagetrail.stages.report.figures import Figure
from imagetrail.stages.report.pictures import Album
from imagetrail.tracking import run_facts

SUSPECTS = 20  # rows of the table of likely label errors
SHEETS = 20  # classes that are looked at
PAGES = (("index.html", "page.html.j2"), ("report.md", "report.md.j2"))


def run() -> None:
    found = facts.read()
    album, shape = Album(), _shape()
    given = found | {
        "missing": lambda *names: facts.missing(found, *names),
        "facts": found,
        "answers": answers,
        "album": album,
        "shape": shape,
        "seen": _seen(found["recipe"], shape),
        "sources": [],
        "shown": _pictures(found),
        "sheets": sorted((paths.ARTIFACTS / "inspect/classes").glob("*.png"))[:SHEETS],
        "maps": {file.stem: file for file in (paths.ARTIFACTS / "explain/maps").glob("*.png")},
        "suspects": (found["suspects"] or [])[:SUSPECTS],
        "rule": (found["ranking"] or {}).get("rule", ""),  # of the verdicts, in a sentence
        "confused": _confused(found, album),
        "charts": _charts(found),
    }
    environment = _environment()
    folder = paths.artifacts("report")
    for name, template in PAGES:
        with replacing(folder / name) as temporary:
            temporary.write_text(environment.get_template(template).render(given) + "\n")
    run_facts.write(Path())
    say((folder / "index.html").resolve().as_uri())


def _shape() -> tuple[int, ...] | None:
    """Height, width and channels of the pictures, where they are there."""
    there = (paths.TEST / "images.npy").exists()
    return samples.read(paths.TEST, columns=["label"]).images.shape[1:] if there else None


def _seen(recipe: dict[str, Any] | None, shape: tuple[int, ...] | None) -> list[int]:
    """Height and width that the network sees, where it enlarges pictures."""
    factor = (recipe or {}).get("enlarge") or 1
    return [side * factor for side in shape[:2]] if shape and factor > 1 else []


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("imagetrail.stages.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        lstrip_blocks=True,
    )
    made.filters |= words.FILTERS
    return made


def _pictures(found: Facts) -> dict[str, Path]:
    """The pictures that other stages drew, by the names that the templates use."""
    folder = paths.ARTIFACTS
    named = {
        "suspects": "audit/suspects.png",
        "pairs": "augment/pairs.png",
        "samples": "synthesise/samples.png",
        "mistakes": "evaluate/mistakes.png",
        "corruptions": "evaluate/robustness.png",
        "disagreements": "gate/disagreements.png",
        "looked": "gate/looked.png",
    }
    findings = (found["data"] or {}).get("findings", [])
    return {name: folder / file for name, file in named.items()} | {
        f"finding {one['name']}": folder / "inspect/findings" / f"{one['name']}.png"
        for one in findings
    }


def _confused(found: Facts, album: Album) -> Confusions | None:
    """The matrix, with pictures where test and its answers are there."""
    if found["confusion"] is None or found["classes"] is None:
        return None
    names = [row["class"] for row in found["classes"]]
    matrix = confusions.find(found["confusion"], names)
    answered = paths.ARTIFACTS / "evaluate/predictions.parquet"
    if not (answered.exists() and (paths.TEST / "images.npy").exists()):
        return matrix
    test = samples.read(paths.TEST, columns=["label"])
    predicted = samples.read_table(answered, columns=["predicted"])["predicted"].to_numpy()
    if len(predicted) != len(test):
        return matrix
    return confusions.illustrated(matrix, test, predicted, album)


def _charts(found: Facts) -> dict[str, Any]:
    """A figure, or several, by the names that the templates use; none where a file is missing."""
    by = found["by"]
    made: dict[str, Figure | list[Figure]] = _search(by) if found["trials"] else {}
    if found["history"]:
        made["history"] = figures.history(found["history"], by)
    for one in (found["ranking"] or {}).get("sets", []):
        arms = [arm for arm in found["ranking"]["arms"] if arm["set"] == one["set"]]
        made[f"arms {one['set']}"] = figures.arms(arms, by, one["reference"])
    if found["classes"]:
        made["recalls"] = figures.recalls(found["classes"])
    if found["robustness"]:
        made["robustness"] = figures.robustness(found["robustness"])
    if found["curves"]:
        made |= {f"maps {name}": two for name, two in map_figures.curves(found["curves"]).items()}
    if found["coverage"]:
        made["coverage"] = confidence_figures.coverage(found["coverage"])
        made["reliability"] = confidence_figures.reliability(found["coverage"])
    return made


def _search(by: Criterion) -> dict[str, Figure | list[Figure]]:
    folder = paths.ARTIFACTS / "tune"
    if not all((folder / name).exists() for name in ("history.csv", "recipe.json")):
        return {}
    rows = search.read(folder)
    fields = search.fields(rows, folder)
    shares = search.importance(rows, search.first_scores(folder, by), fields)
    front = search.front(folder)
    made: dict[str, Figure | list[Figure]] = {
        "trials": search_figures.trials(rows, by, fields),
        "importance": search_figures.importance(shares),
    }
    return made | ({"pareto": search_figures.pareto(front, by)} if len(front) > 1 else {})
