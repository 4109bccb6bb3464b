"""A wrong param is one line that says what is right, before anything runs."""

from pathlib import Path
from typing import Any

import pytest
from project import Project

from imagetrail.base.errors import UserError
from imagetrail.cli.params import check_all


def test_a_wrong_param_is_one_line_for_each_and_no_traceback(tmp_path: Path) -> None:
    made = Project(tmp_path)
    made.set(data={"name": "cifar"}, gate={"alpha": 2})
    said = made.imagetrail("params", ok=False).splitlines()
    assert len(said) == 2 and said[0].startswith(
        "error: params.yaml: data.name: unknown data set 'cifar'"
    )
    assert said[1].startswith("error: params.yaml: gate.alpha: input should be less than")


REMEDIES = {"epochs": 1, "images": None}


def contest(reference: str, name: str = "x", **arms: dict[str, Any]) -> dict[str, Any]:
    """A change of params: one set of arms to compare."""
    return {
        "compare": {
            "sets": {name: {"epochs": 1, "images": None, "reference": reference, "arms": arms}}
        }
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"recipe": {"activation": "rleu"}},
            ["recipe.activation: unknown activation 'rleu'; did you mean 'relu'?"],
        ),
        ({"recipe": {"epochs": 3}}, ["recipe.epochs", "train.epochs"]),
        (
            {"split": {"vaild": 0.1}},
            ["split.vaild: unknown key; did you mean 'valid'? choose from per_class, test, valid"],
        ),
        (
            contest("gelu", relu={}, tanh={}),
            ["compare.sets.x: reference must be one of the arms relu, tanh, got 'gelu'"],
        ),
        (
            contest("a", a={}, b={"synthetic": 0.1}) | {"synthesise": {"per_class": 0}},
            ["arm b", "synthesise.per_class"],
        ),
        (
            contest("a", a={}, b={"augmented": 0.6, "synthetic": 0.6}),
            ["set x, arm b", "1.2 in all; at most 1"],
        ),
        (contest("a", a={}, b={}, name=" "), ["compare.sets", "an arm needs a name, got ' '"]),
        (contest("a", a={}, b={}, name="remedies"), ["compare.remedies makes"]),
        (
            {"compare": {"remedies": REMEDIES | {"tried": {"augmentd": 0.1}}}},
            ["compare.remedies.tried", "no field augmentd"],
        ),
        (
            {"compare": {"remedies": REMEDIES | {"tried": {"flip": False}}}},
            ["compare.remedies.tried.flip"],
        ),
        ({"tune": {"rungs": [3, 1]}}, ["rungs must be rising"]),
        ({"tune": {"space": {"widht": [1.0]}}}, ["tune.space.widht", "width"]),
        ({"tune": {"space": {"augmented": [0, 1.4]}}}, ["tune.space.augmented"]),
        (
            contest("relu", relu={}, s={"activation": "sigmoide"}),
            ["compare.sets.x.arms.s", "did you mean 'sigmoid'?"],
        ),
        ({"pretrain": {"related": ["mnits"]}}, ["did you mean 'mnist'?"]),
        (
            {"evaluate": {"unknown": "mnits"}},
            ["evaluate.unknown: unknown data set 'mnits'; did you mean 'mnist'?"],
        ),
        (
            {"evaluate": {"unknown": "fashion-mnist"}},
            ["evaluate.unknown", "a published data set other than"],
        ),
        ({"evaluate": {"corrupted": 0}}, ["evaluate.corrupted"]),
        ({"data": {"name": "folder", "path": "/nowhere"}}, ["data.path: /nowhere does not exist"]),
        (
            {"augment": {"policy": [{"HorizontalFlop": {}}]}},
            ["unknown transform", "did you mean 'HorizontalFlip'?"],
        ),
        ({"augment": {"policy": [{"HorizontalFlip": {"prob": 1}}]}}, ["HorizontalFlip", "prob"]),
        (
            {"augment": {"policy": [{"ChannelDropout": {}}]}},
            ["augment.policy", "ChannelDropout needs 3 channels"],
        ),
    ],
)
def test_a_wrong_param_is_told_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    Project(tmp_path).set(**changes)
    with pytest.raises(UserError) as caught:
        check_all(tmp_path / "params.yaml")
    assert all(word in str(caught.value) for word in words)
