"""All of params.yaml at once: a mistake of the last stage is found before the first one runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from imagetrail.base import paths
from imagetrail.base.criteria import Criterion
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import alternatives, nearest
from imagetrail.base.params import Section, load, read_yaml
from imagetrail.cli.place import refuse_place
from imagetrail.data.params import Data, Name
from imagetrail.release.git_dvc import refuse_trouble
from imagetrail.stages.audit.params import Audit
from imagetrail.stages.augment.params import Augment
from imagetrail.stages.compare.params import Compare
from imagetrail.stages.evaluate.params import Evaluate
from imagetrail.stages.explain.params import Explain
from imagetrail.stages.export.params import Export
from imagetrail.stages.gate.params import Gate
from imagetrail.stages.inspect.params import Inspect
from imagetrail.stages.pretrain.params import Pretrain
from imagetrail.stages.split.params import Split
from imagetrail.stages.synthesise.params import Synthesise
from imagetrail.stages.train.params import Train
from imagetrail.stages.tune.params import Tune
from imagetrail.training.chosen import default_recipe
from imagetrail.training.recipe import Recipe

Seed = Annotated[int, Field(ge=0, lt=2**63, description="all random draws come from it")]

DecideBy = Annotated[Criterion, Field(description="what makes one model better than another")]

Project = Annotated[
    Name | None,
    Field(
        description="what the experiment and the registered model in MLflow are called; "
        "null: as data.name"
    ),
]

SECTIONS: dict[str, Any] = {
    "seed": Seed,
    "decide_by": DecideBy,
    "project": Project,
    "data": Data,
    "inspect": Inspect,
    "split": Split,
    "audit": Audit,
    "augment": Augment,
    "synthesise": Synthesise,
    "pretrain": Pretrain,
    "recipe": Recipe,
    "train": Train,
    "tune": Tune,
    "compare": Compare,
    "evaluate": Evaluate,
    "explain": Explain,
    "export": Export,
    "gate": Gate,
}


def check_all(path: Path = Path("params.yaml")) -> None:
    """Raises one UserError with every mistake in the file.

    Also of what would fail hours later: a champion that is not here, a folder that MLflow cannot
    take, a Git that does not work.
    """
    unknown = [str(name) for name in read_yaml(path) if name not in SECTIONS]
    faults = [
        f"{path}: unknown section {name!r}; {alternatives(name, SECTIONS)}" for name in unknown
    ]
    meant = {nearest(name, SECTIONS) for name in unknown} - read_yaml(path).keys()
    sections: list[Any] = []
    for name in SECTIONS:
        if name not in meant:  # a misspelt section is not missing as well
            with _collected(faults):
                sections.append(_read(name, path))
    for look in (paths.champion_present, refuse_place, lambda: refuse_trouble(Path())):
        with _collected(faults):
            look()
    if not faults:  # what follows needs sections that are right in themselves
        for section in sections:
            if isinstance(section, Section):
                with _collected(faults):
                    section.check(path)
    if faults:
        raise UserError("\n".join(faults))


def _read(name: str, path: Path) -> Any:
    if name == "project" and name not in read_yaml(path):  # in a file of before
        return None
    if name == "recipe":  # in the file it has no epochs
        return default_recipe(epochs=1, path=path)
    return load(SECTIONS[name], name, path)


@contextmanager
def _collected(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        faults.append(str(error))
