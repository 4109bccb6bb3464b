"""Tell the whole story on one page. Reads artifacts and test, writes artifacts/report.

No clock figure is on it, so that equal results make an equal page: run.js beside it, which is no
result, brings the times when the page is opened; `imagetrail publish` puts them into its copy.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from imagetrail.base import paths, samples
from imagetrail.base.files import replacing
from imagetrail.plots import search
from imagetrail.stages.report import answers, confusions, facts, figures, words
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
    album = Album()
    given = found | {
        "missing": lambda *names: facts.missing(found, *names),
        "facts": found,
        "answers": answers,
        "album": album,
        "shown": _pictures(found),
        "sheets": sorted((paths.ARTIFACTS / "inspect/classes").glob("*.png"))[:SHEETS],
        "maps": sorted((paths.ARTIFACTS / "explain/maps").glob("*.png")),
        "suspects": (found["suspects"] or [])[:SUSPECTS],
        "confused": _confused(found, album),
        "charts": _charts(found),
    }
    environment = _environment()
    folder = paths.artifacts("report")
    for name, template in PAGES:
        with replacing(folder / name) as temporary:
            temporary.write_text(environment.get_template(template).render(given) + "\n")
    run_facts.write(Path())
    print(f"{(folder / 'index.html').resolve().as_uri()}")


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
    by, tune = found["by"], paths.ARTIFACTS / "tune"
    made: dict[str, Figure | list[Figure] | None] = {"pareto": None}
    if found["history"]:
        made["history"] = figures.history(found["history"], by)
    for one in (found["ranking"] or {}).get("sets", []):
        arms = [arm for arm in found["ranking"]["arms"] if arm["set"] == one["set"]]
        made[f"arms {one['set']}"] = figures.arms(arms, by, one["reference"])
    if found["trials"] and (tune / "history.csv").exists() and (tune / "recipe.json").exists():
        rows = search.read(tune)
        fields = search.fields(rows, tune)
        made["trials"] = figures.trials(rows, by, fields)
        shares = search.importance(rows, search.first_scores(tune, by), fields)
        made["importance"] = figures.importance(shares)
        if len(front := search.front(tune)) > 1:
            made["pareto"] = figures.pareto(front, by)
    for name, draw in (
        ("coverage", figures.coverage),
        ("robustness", figures.robustness),
    ):
        if found[name]:
            made[name] = draw(found[name])
    if found["coverage"]:
        made["reliability"] = figures.reliability(found["coverage"])
    if found["classes"]:
        made["recalls"] = figures.recalls(found["classes"])
    return made
