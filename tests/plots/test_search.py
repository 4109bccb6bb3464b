"""What is said of a search is right, and its pictures can be drawn whatever the search was like."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagetrail.base.criteria import Criterion
from imagetrail.base.files import read_csv, write_csv, write_json
from imagetrail.plots import search, search_charts


def searched(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A folder as `tune` leaves it; each trial has the same score all along."""
    write_csv(folder / "trials.csv", rows)
    curves = [
        {"number": row["number"], "epoch": epoch, "valid_top1": row["value"]}
        for row in rows
        for epoch in range(1, row["epochs"] + 1)
    ]
    write_csv(folder / "history.csv", curves)
    write_json(folder / "recipe.json", {"activation": "relu", "lr": 0.1, "width": 1.0, "epochs": 3})
    return folder


def row(number: int, value: Any = 0.5, state: str = "COMPLETE", **fields: Any) -> dict[str, Any]:
    epochs = {"COMPLETE": 3, "PRUNED": 1, "FAIL": 0}[state]
    return {"number": number, "state": state, "epochs": epochs, "value": value} | fields


def test_the_field_that_decides_explains_the_score_and_one_without_effect_does_not(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        activation, lr = ("relu", "silu", "tanh")[number % 3], float(rng.uniform(0.01, 0.3))
        score = 0.8 + 0.05 * (activation == "silu") + float(rng.normal(0, 0.005))
        rows.append(
            row(number, score, activation=activation, lr=lr, width=float(rng.choice([0.5, 1.0])))
        )
    folder = searched(tmp_path, rows)
    read = search.read(folder)
    shares = search.importance(read, search.first_scores(folder), search.fields(read, folder))
    assert next(iter(shares)) == "activation" and shares["activation"] > 0.9
    assert shares["lr"] < 0.1 and shares["width"] < 0.1


def test_numbers_are_taken_in_groups_so_that_a_best_value_in_the_middle_shows(
    tmp_path: Path,
) -> None:
    rows = [
        row(number, 0.9 - abs(number - 15) / 100, lr=0.01 * (number + 1)) for number in range(31)
    ]
    folder = searched(tmp_path, rows)
    assert search.importance(search.read(folder), search.first_scores(folder), ["lr"])["lr"] > 0.5


def test_epochs_reached_are_not_a_field_that_was_searched(tmp_path: Path) -> None:
    folder = searched(
        tmp_path, [row(0, activation="relu"), row(1, 0.3, "PRUNED", activation="silu")]
    )
    assert search.fields(search.read(folder), folder) == ["activation"]


@pytest.mark.parametrize(
    "rows",
    [
        [row(0, activation="relu", lr=0.1)],
        [row(0, activation="relu", lr=0.1), row(1, "", "FAIL", activation="silu", lr=0.3)],
        [row(0, activation="relu", lr=0.1), row(1, 0.4, "PRUNED", activation="a $name$", lr=0.001)],
        [
            row(number, activation=["relu", "silu"][number % 2], lr=0.1 * (number + 1))
            for number in range(5)
        ],
    ],
)
def test_pictures_of_any_search_are_drawn_with_the_same_bytes_each_time(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    folder = searched(tmp_path, rows)
    fronts = [
        {"number": number, "value": number / 2, "flops_forward": 10, "parameters": 5 + number}
        for number in (0, 1)
    ]
    write_csv(folder / "pareto.csv", fronts)
    for name, draw in search.pictures(folder).items():
        for file in ("once.png", "twice.png"):
            draw(tmp_path / file)
        assert (tmp_path / "once.png").read_bytes() == (tmp_path / "twice.png").read_bytes(), name


def test_what_a_search_maximised_explains_its_fields_and_stands_at_the_axes(tmp_path: Path) -> None:
    rows = [
        row(number, number / 10, activation=("relu", "silu")[number % 2]) for number in range(6)
    ]
    folder = searched(tmp_path, rows)
    curves = read_csv(folder / "history.csv")
    for curve in curves:
        curve["valid_macro_recall"] = str(float(curve["valid_top1"]) / 2)
    write_csv(folder / "history.csv", curves)
    assert search.first_scores(folder, Criterion.MACRO_RECALL)[5] == 0.25
    drawn = []
    for by in Criterion:
        search.pictures(folder, by)["trials"](tmp_path / "trials.png")
        drawn.append((tmp_path / "trials.png").read_bytes())
    assert drawn[0] != drawn[1]


def test_a_front_is_drawn_by_the_first_of_its_costs(tmp_path: Path) -> None:
    """Not by one that happens to rise with the score."""
    folder = searched(tmp_path, [row(0, activation="relu")])
    costs = [{"latency_ms": 2, "parameters": 5}, {"latency_ms": 2, "parameters": 7}]
    drawn = []
    for names in (("latency_ms", "parameters"), ("parameters", "latency_ms")):
        front = [{"number": i, "value": i / 2} | {n: costs[i][n] for n in names} for i in (0, 1)]
        write_csv(folder / "pareto.csv", front)
        search.pictures(folder)["pareto"](tmp_path / "drawn.png")
        search_charts.pareto(front, names[0], "top-1", tmp_path / "expected.png")
        drawn.append((tmp_path / "drawn.png").read_bytes())
        assert drawn[-1] == (tmp_path / "expected.png").read_bytes()
    assert drawn[0] != drawn[1]


def test_a_search_that_has_found_a_front_has_a_picture_of_it(tmp_path: Path) -> None:
    folder = searched(tmp_path, [row(0, activation="relu")])
    assert "pareto" not in search.pictures(folder)
    one = {"number": 0, "value": 0.5, "flops_forward": 10}
    write_csv(folder / "pareto.csv", [one])
    assert "pareto" not in search.pictures(folder)
    write_csv(folder / "pareto.csv", [one, {"number": 1, "value": 0.6, "flops_forward": 20}])
    assert (
        json.dumps(sorted(search.pictures(folder)))
        == '["importance", "parallel", "pareto", "trials"]'
    )
