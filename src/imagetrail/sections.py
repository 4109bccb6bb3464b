"""All sections of params.yaml at once, so that a mistake in the last stage is told before the first one runs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from imagetrail.augment import build
from imagetrail.choices import alternatives
from imagetrail.datasets import Data
from imagetrail.errors import UserError
from imagetrail.experiment import default_recipe, override
from imagetrail.gate import Gate
from imagetrail.params import load, read_yaml
from imagetrail.search import Tune, values_of
from imagetrail.stages.augment import Augment
from imagetrail.stages.compare import Compare
from imagetrail.stages.evaluate import Evaluate
from imagetrail.stages.explain import Explain
from imagetrail.stages.export import Export
from imagetrail.stages.fetch import check_others
from imagetrail.stages.inspect import Inspect
from imagetrail.stages.pretrain import Pretrain
from imagetrail.stages.split import Split
from imagetrail.stages.synthesise import Synthesise
from imagetrail.stages.train import Train

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


def check_all(path: Path = Path("params.yaml")) -> None:
    """Raises one UserError with every mistake in the file."""
    names = [*SECTIONS, "recipe"]
    faults = [
        f"{path}: unknown section {name!r}; {alternatives(name, names)}" for name in read_yaml(path) if name not in names
    ]
    for name, kind in SECTIONS.items():
        faults += _fault(partial(load, kind, name, path))
    faults += _fault(partial(default_recipe, epochs=1, path=path))
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
    check_others(load(Pretrain, "pretrain", path).related, data.name, "pretrain.related")
    unknown = load(Evaluate, "evaluate", path).unknown
    check_others([unknown] if unknown else [], data.name, "evaluate.unknown")
    build(load(Augment, "augment", path).policy, data.shape)


def _check_arms(path: Path) -> None:
    recipe = default_recipe(epochs=1, path=path)
    for arm, values in load(Compare, "compare", path).arms.items():
        override(recipe, values, f"{path}: compare.arms.{arm}")


def _check_space(path: Path) -> None:
    recipe = default_recipe(epochs=1, path=path)
    for name, choices in load(Tune, "tune", path).space.items():
        for value in values_of(choices):
            override(recipe, {name: value}, f"{path}: tune.space.{name}")
