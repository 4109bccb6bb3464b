"""Trials and arms as child runs of their stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """A child run of a stage: a trial of a search, an arm of a comparison."""

    key: str  # among its siblings
    name: str
    params: Mapping[str, Any]  # the fields of Recipe and nothing else, so that any two runs compare
    history: Sequence[Mapping[str, float]]  # a row an epoch, with `epoch`
    tags: Mapping[str, str]
    state: str = "COMPLETE"
    started: float | None = None  # seconds since 1970; None: now
    ended: float | None = None


def trial_part(
    row: Mapping[str, Any], recipe: Mapping[str, Any], history: Sequence[Mapping[str, float]]
) -> Part:
    """A row of trials.csv as a run, with the whole recipe, as arms and the training have it."""
    params = {name: _as(value, row.get(name, "")) for name, value in recipe.items()}
    params["epochs"] = recipe["epochs"]  # asked for; the row has those reached
    ending = {"PRUNED": f" · pruned at {row['epochs']}", "FAIL": " · failed"}.get(row["state"], "")
    name = f"trial {int(row['number']):03d} · {params['activation'] or params['model']}{ending}"
    tags = {"trial": str(row["number"]), "state": str(row["state"]), "rung": str(row["epochs"])}
    return Part(str(row["number"]), name, params, history, tags, str(row["state"]))


def _as(default: Any, value: Any) -> Any:
    """A value, which may come from a CSV file, as the recipe has it; "" stands for the recipe's."""
    if value == "":
        return default
    return float(value) if isinstance(default, float) else value


def arm_part(
    row: Mapping[str, Any], recipe: Mapping[str, Any], history: Sequence[Mapping[str, float]]
) -> Part:
    """A row of results.csv as a run."""
    tags = {name: str(row[name]) for name in ("set", "arm", "seed")}
    name = f"{tags['arm']} · seed {tags['seed']}"
    return Part("/".join(tags.values()), name, recipe, history, tags)
