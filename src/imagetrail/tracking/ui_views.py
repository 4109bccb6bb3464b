"""How MLflow's UI shows runs: named views, under `Views`, with the columns and charts that matter.

A view is a tag of the experiment, as MLflow 3 keeps those that users save.
"""

import colorsys
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from imagetrail.tracking.store import SCORE

DIFFERENCE = ("difference", "difference_low", "difference_high")  # of an arm, 95 %
CURVES = (SCORE, "valid_loss", "train_loss")
NAME = "attributes.`Run Name`"
PAGES = "workflowType=machine_learning"  # else MLflow shows those for language models
NOTE = "mlflow.note.content"  # tag: the description, in Markdown
FIRST = "pipelines"  # the view that is opened
LAYOUT = {"columns": 2, "cardHeight": 400}  # of charts; pixels
COLOUR = "mlflow.runColor"  # tag of a run


def pipelines() -> tuple[str, str]:
    """All pipelines, the newest first, with room for the names of what is below them."""
    columns = [
        *(f"metrics.`{name}`" for name in ("test_top1", "test_top1_low", "test_top1_high")),
        "metrics.`valid_top1`",
        "params.`model`",
        "params.`activation`",
        "attributes.`Models`",
    ]
    state = {
        "orderByKey": "attributes.start_time",
        "selectedColumns": columns,
        "columnOrder": ["0", NAME, "runDateAndNestInfo", "duration", *columns],
        "columnWidths": {NAME: 330},  # pixels
    }
    return _tag(FIRST, "Pipelines", state)


def trials(search: str, fields: Iterable[str]) -> tuple[str, str]:
    """The trials of a search (the id of its run), best first, with what was searched."""
    names = list(fields)
    columns = ["tags.`rung`", *(f"params.`{name}`" for name in names)]
    parallel = _chart("PARALLEL", selectedParams=names, selectedMetrics=[SCORE], showAllRuns=True)
    return _view("trials", "Trials of the search", search, columns, [parallel])


def arms(comparison: str, name: str, number: int, scores: Sequence[float]) -> tuple[str, str]:
    """The arms of one set of a comparison (the id of its run), best first, seeds in groups.

    Bars begin at 0, which says something of differences alone; the axis of scores is that of those
    at the end.
    """
    room = 0.05 * (max(scores) - min(scores)) or 0.01
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "arm"}]}
    bars = _chart("BAR", metricKey=DIFFERENCE[0], selectedMetricKeys=DIFFERENCE)
    within = f" and tags.`set` = '{name}'"
    return _view(
        f"arms-{number}",
        f"Arms: {name}",
        comparison,
        [*(f"metrics.`{name}`" for name in DIFFERENCE), "tags.`verdict`", "tags.`seed`"],
        [bars],
        within=within,
        ends={"yMin": min(scores) - room, "yMax": max(scores) + room},
        groupBy=group,
    )


def front_page(
    experiment: str, views: Iterable[tuple[str, str]], known: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Tags by which the page of an experiment opens on its runs, and leads to the views.

    known: its tags now; a description that people have written stays.
    """
    links = [
        f"[{json.loads(value)['name']}]({address(experiment, tag.rsplit('.', 1)[-1])})"
        for tag, value in views
    ]
    begins, text = "Views: ", known.get(NOTE, "")
    note = [(NOTE, begins + " · ".join(links))] if not text or text.startswith(begins) else []
    return [("mlflow.experimentKind", "custom_model_development"), *note]


def address(experiment: str, view: str) -> str:
    """Of a view, behind that of the server."""
    runs = f"#/experiments/{experiment}/runs?{PAGES}"
    return f"{runs}&viewStateShareKey={view}"


def colour(number: int) -> str:
    """The colour of an arm by its number: hues a golden section apart, distinct however many."""
    red, green, blue = colorsys.hls_to_rgb(0.6 + number * 0.618034, (0.42, 0.62)[number % 2], 0.7)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _view(
    key: str,
    name: str,
    parent: str,
    columns: Iterable[str],
    charts: list[dict[str, Any]],
    *,
    within: str = "",
    ends: Mapping[str, float] | None = None,
    **more: Any,
) -> tuple[str, str]:
    """ends: of the axis of scores."""
    lines = [
        _chart("LINE", metricKey=name, scaleType="linear", xAxisKey="step", lineSmoothness=0)
        for name in CURVES
    ]
    lines[0] |= {"range": ends} if ends else {}
    state = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'{within}",
        "orderByKey": f"metrics.`{SCORE}`",
        "orderByAsc": False,
        "selectedColumns": [*(f"metrics.`{name}`" for name in CURVES[:2]), *columns],
        "compareRunCharts": [lines[0], *charts, *lines[1:]],
        "compareRunSections": [
            {"uuid": "scores", "name": "Scores", "display": True, "isReordered": False, **LAYOUT}
        ],
        "runsHiddenMode": "SHOW_ALL",
        **more,
    }
    return _tag(key, name, state)


def _tag(key: str, name: str, state: Mapping[str, Any]) -> tuple[str, str]:
    """An experiment's tag and its value: a name, and the state of the page in the UI's terms."""
    view = {"name": name, "createdAt": 0, "state": json.dumps(state)}
    return f"mlflow.sharedViewState.{key}", json.dumps(view)


def _chart(kind: str, **more: Any) -> dict[str, Any]:
    uuid = "-".join([kind, str(more.get("metricKey", ""))])
    return {
        "uuid": uuid,
        "type": kind,
        "metricSectionId": "scores",
        "runsCountToCompare": 100,
        "deleted": False,
        **more,
    }
