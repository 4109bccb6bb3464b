"""All sections of params.yaml at once, so that a mistake in the last stage is told before the first one runs."""

from pathlib import Path
from typing import Any

from imagetrail.augment import build
from imagetrail.choices import alternatives
from imagetrail.datasets import Data
from imagetrail.errors import UserError
from imagetrail.experiment import default_recipe
from imagetrail.params import load, read_yaml
from imagetrail.search import Tune
from imagetrail.stages.augment import Augment
from imagetrail.stages.compare import Compare
from imagetrail.stages.evaluate import Evaluate
from imagetrail.stages.explain import Explain
from imagetrail.stages.export import Export
from imagetrail.stages.gate import Gate
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
    faults = [
        f"{path}: unknown section {name!r}; {alternatives(name, SECTIONS)}"
        for name in read_yaml(path)
        if name not in (*SECTIONS, "recipe")
    ]
    for name, kind in SECTIONS.items():
        try:
            load(kind, name, path)
        except UserError as error:
            faults.append(str(error))
    try:
        default_recipe(epochs=1, path=path)
    except UserError as error:
        faults.append(str(error))
    if faults:
        raise UserError("\n".join(faults))
    build(load(Augment, "augment", path).policy, load(Data, "data", path).channels)
