"""All sections of params.yaml at once, so that a mistake in the last stage is told before the first one runs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives
from imagetrail.base.params import load, read_yaml
from imagetrail.data.datasets import Data
from imagetrail.stages.augment.params import Augment
from imagetrail.stages.augment.policy import build
from imagetrail.stages.compare.arms import made_out
from imagetrail.stages.compare.params import Compare
from imagetrail.stages.evaluate.params import Evaluate
from imagetrail.stages.explain.params import Explain
from imagetrail.stages.export.params import Export
from imagetrail.stages.fetch.params import check_others
from imagetrail.stages.gate.params import Gate
from imagetrail.stages.inspect.params import Inspect
from imagetrail.stages.pretrain import weights
from imagetrail.stages.pretrain.params import Pretrain
from imagetrail.stages.split.params import Split
from imagetrail.stages.synthesise.params import Synthesise
from imagetrail.stages.train.params import Train
from imagetrail.stages.tune.params import Tune, settled
from imagetrail.training.recipe import Recipe, default_recipe

SECTIONS: dict[str, Any] = {
    "seed": int,
    "data": Data,
    "inspect": Inspect,
    "split": Split,
    "augment": Augment,
    "synthesise": Synthesise,
    "pretrain": Pretrain,
    "train": Train,
    "tune": Tune,
    "compare": Compare,
    "evaluate": Evaluate,
    "explain": Explain,
    "export": Export,
    "gate": Gate,
}
MAKERS = {  # field of the recipe: what says whether its images or weights are made
    "augmented": "augment.copies",
    "synthetic": "synthesise.per_class",
    "related": "pretrain.related",
    "pretrained": "pretrain.related",
}


def check_all(path: Path = Path("params.yaml")) -> None:
    """Raises one UserError with every mistake in the file, or if the gate, hours later, would miss the champion."""
    names = [*SECTIONS, "recipe"]
    faults = [
        f"{path}: unknown section {name!r}; {alternatives(name, names)}"
        for name in read_yaml(path)
        if name not in names
    ]
    for name, kind in SECTIONS.items():
        faults += _fault(partial(load, kind, name, path))
    faults += _fault(partial(default_recipe, epochs=1, path=path))
    faults += _fault(paths.champion_present)
    if not faults:  # what follows needs sections that are right in themselves
        for check in (_check_data, _check_arms, _check_space):
            faults += _fault(partial(check, path))
    if faults:
        raise UserError("\n".join(faults))


def _fault(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except UserError as error:
        return [str(error)]
    return []


def _check_data(path: Path) -> None:
    data = load(Data, "data", path)
    if data.name == "folder" and not data.path.exists():
        raise UserError(
            f"{path}: data.path: {data.path} does not exist; it must be a folder or archive of class sub-folders"
        )
    pretrain = load(Pretrain, "pretrain", path)
    check_others(pretrain.related, data.name, "pretrain.related")
    if pretrain.weights:
        weights.check(pretrain.weights, default_recipe(epochs=1, path=path).model)
    unknown = load(Evaluate, "evaluate", path).unknown
    check_others([unknown] if unknown else [], data.name, "evaluate.unknown")
    build(load(Augment, "augment", path).policy, data.shape)


def _check_arms(path: Path) -> None:
    compare, recipe = load(Compare, "compare", path), default_recipe(epochs=1, path=path)
    _check_shares(recipe, path, "recipe")
    prepared = {field: bool(load(Any, key, path)) for field, key in MAKERS.items()}
    prepared["pretrained"] |= load(Pretrain, "pretrain", path).weights is not None
    for contest in made_out(
        compare, recipe, f"{path}: compare", prepared=lambda remedy: prepared.get(remedy, True)
    ):
        for arm, made in contest.arms.items():
            _check_shares(made, path, f"compare, set {contest.name}, arm {arm}")


def _check_shares(recipe: Recipe, path: Path, where: str) -> None:
    """Refuses a recipe that takes more than all its images from elsewhere, or some that no stage is told to make."""
    shares = {field: getattr(recipe, field) for field in ("augmented", "synthetic", "related")}
    for field, share in shares.items():
        if share and not load(Any, MAKERS[field], path):
            raise UserError(
                f"{path}: {where}: takes a share of {share:g} {field} images, but {MAKERS[field]} makes none"
            )
    if sum(shares.values()) > 1 + 1e-9:
        raise UserError(
            f"{path}: {where}: the shares {' + '.join(shares)} are {sum(shares.values()):g} in all; at most 1"
        )


def _check_space(path: Path) -> None:
    settled(load(Tune, "tune", path), default_recipe(epochs=1, path=path), f"{path}: tune")
