"""The data sets that a run names are those that it has used."""

from pathlib import Path
from typing import Any

import pytest

from imagetrail.base.files import write_csv, write_json
from imagetrail.tracking import inputs

PICTURES = ("split/train", "split/valid", "augmented", "synthetic", "split/related")


def locked(stage: str, **fetched: Any) -> dict[str, Any]:
    deps = [{"path": f"data/{name}", "md5": f"{name}.dir"} for name in PICTURES]
    facts = {"data.source": "digits", "data.path": "data/own", **fetched}
    return {"fetch": {"params": {"params.yaml": facts}}, stage: {"deps": deps}}


def used(stage: str, folder: Path, **fetched: Any) -> set[str]:
    found = inputs.used(stage, locked(stage, **fetched), folder)
    return {path.removeprefix("data/") for path in found}


@pytest.mark.parametrize(
    ("shares", "more"),
    [
        ({}, set()),
        ({"augmented": 0.2}, {"augmented"}),
        ({"synthetic": 0.1, "related": 0.1}, {"synthetic", "split/related"}),
    ],
)
def test_a_training_names_what_had_a_share_in_its_epochs(
    tmp_path: Path, shares: dict[str, float], more: set[str]
) -> None:
    recipe = {"augmented": 0.0, "synthetic": 0.0, "related": 0.0} | shares
    write_json(tmp_path / "recipe.json", recipe)
    assert used("train", tmp_path) == {"split/train", "split/valid"} | more


def test_a_search_names_what_any_trial_has_used(tmp_path: Path) -> None:
    write_json(tmp_path / "recipe.json", {"augmented": 0.0, "synthetic": 0.0, "related": 0.0})
    write_csv(tmp_path / "trials.csv", [{"augmented": 0.0}, {"augmented": 0.4}, {"augmented": ""}])
    assert used("tune", tmp_path) == {"split/train", "split/valid", "augmented"}


def test_what_fetch_was_told_to_leave_empty_is_named_nowhere(tmp_path: Path) -> None:
    assert "split/related" in used("pretrain", tmp_path, **{"pretrain.related": ["mnist"]})
    assert "split/related" not in used("pretrain", tmp_path, **{"pretrain.related": []})
