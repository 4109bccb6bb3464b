"""Networks of the Hugging Face hub: how they are named, and what their files say.

`hub/<name>` is built by transformers, `timm/<name>` by timm. The files of a network are a folder
with config.json, preprocessor_config.json (timm: all is in the first) and model.safetensors.
Nothing here loads torch, or a library of networks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.errors import UserError, damaged
from imagetrail.base.files import read_json

LIBRARIES = {"hub": "transformers", "timm": "timm"}  # how a name begins: the package that builds it
EXTRAS = {"transformers": "hub", "timm": "timm"}  # of imagetrail
CONFIG, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
PICKLE, PARTS = "pytorch_model.bin", "model.safetensors.index.json"
OTHERS = (PICKLE, PARTS)  # weights that are not taken
NAME = re.compile(r"(hub|timm)(/\w[\w.-]*){1,2}")
NAMES = ("id2label", "label2id")  # of a config: its own classes, which are not ours


@dataclass(frozen=True)
class Architecture:
    """What builds a network of the hub, and the pictures that it was learned on."""

    name: str  # as recipe.model has it
    config: Mapping[str, Any]  # config.json, without the names of its classes
    mean: tuple[float, ...]  # of their channels, in units of 0 … 255
    std: tuple[float, ...]
    size: int  # pixels a side: the best for it


def described(values: Mapping[str, Any]) -> Architecture:
    """The architecture that was written as JSON."""
    mean, std = (tuple(values[name]) for name in ("mean", "std"))
    return Architecture(values["name"], values["config"], mean, std, values["size"])


def named(model: str) -> bool:
    """Whether a network is one of the hub."""
    return model.partition("/")[0] in LIBRARIES and "/" in model


def check(model: str) -> None:
    """Raises UserError for a name that is none, or if what builds the network is not installed."""
    if not NAME.fullmatch(model):
        raise UserError(f"{model!r} is no name of the hub, such as hub/microsoft/resnet-18")
    package = LIBRARIES[model.partition("/")[0]]
    if find_spec(package) is None:
        raise UserError(f"{model} needs {package}: pip install 'imagetrail[{EXTRAS[package]}]'")


def check_use(model: str, width: float, where: str, *, only: str | None = None) -> None:
    """Raises UserError, beginning with `where`, for a recipe whose network of the hub is not to be.

    only: recipe.model of params.yaml, the one network of the hub that is fetched.
    """
    if not named(model):
        return
    if only not in (None, model):
        raise UserError(f"{where}: {model}: the network of the hub is recipe.model, {only}")
    if width != 1:
        raise UserError(f"{where}: {model} comes in one width, 1, not {width:g}")
    if only is None and own_folder(model).is_dir():  # others are fetched first
        read(own_folder(model), model)


def files(model: str) -> tuple[str, ...]:
    """The names of the files that a network is made of."""
    return (CONFIG, WEIGHTS) if model.startswith("timm/") else (CONFIG, PREPROCESSOR, WEIGHTS)


def repository(model: str) -> str:
    """What the hub calls it; `timm/…` is a name there."""
    return model.removeprefix("hub/")


def own_folder(model: str) -> Path:
    """Where a user may put the files of a network; nothing is fetched then."""
    return paths.WEIGHTS / repository(model)


def folder(model: str) -> Path:
    """Where the files of a network are; raises UserError if they are not here yet."""
    for found in (own_folder(model), paths.HUB / repository(model)):
        if found.is_dir():
            return found
    raise UserError(f"the files of {model} are not here; run `dvc repro --force fetch`")


def read(folder: Path, model: str) -> Architecture:
    """What the files in `folder` say of a network.

    Raises UserError for a file that is missing or damaged, for weights that are not a safetensors
    file, and for a network that comes with code of its own.
    """
    check_weights(folder, model)
    config = read_config(folder, model)
    says = _timm(config) if model.startswith("timm/") else _transformers(folder, model)
    if says is None:
        raise damaged(folder, "it does not say how pictures are normalised", remedy=_remedy(folder))
    config = {key: value for key, value in config.items() if key not in NAMES}
    return Architecture(model, config, *says)


def read_config(folder: Path, model: str) -> dict[str, Any]:
    """The config; raises UserError if it is missing or damaged, or wants code of its own to run."""
    config = _read(folder, CONFIG, model)
    if "auto_map" in config:
        raise UserError(
            f"{model} comes with code of its own (auto_map in {CONFIG}), which is never run; "
            f"choose a network that {LIBRARIES[model.partition('/')[0]]} knows"
        )
    return config


def check_weights(folder: Path, model: str) -> None:
    """Raises UserError if the weights in a folder are not one safetensors file."""
    if (folder / WEIGHTS).is_file():
        return
    others = [name for name in OTHERS if (folder / name).is_file()]
    raise no_weights(model, str(folder), others)


def no_weights(model: str, where: str, found: list[str]) -> UserError:
    """For a network without weights in one safetensors file; `found` are the others there."""
    reason = f"no {WEIGHTS}"
    if PARTS in found:
        reason += f" but weights in several files ({PARTS}): too large a network"
    elif PICKLE in found:
        reason += f" but {PICKLE}, a pickle, which can run code and is never read"
    return UserError(f"{where} has {reason}; choose another network or revision than {model}")


def _read(folder: Path, name: str, model: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise UserError(f"{folder} has no {name}, which {model} needs")
    value = read_json(path, remedy=_remedy(folder))
    if not isinstance(value, dict):
        raise damaged(path, "not a JSON object", remedy=_remedy(folder))
    return value


def _remedy(folder: Path) -> str:
    return "fetch it anew" if folder.is_relative_to(paths.HUB) else "put the hub's file there"


Described = tuple[tuple[float, ...], tuple[float, ...], int]  # the rest of an Architecture


def _transformers(folder: Path, model: str) -> Described | None:
    """By preprocessor_config.json (huggingface.co/docs/transformers/image_processors)."""
    says = _read(folder, PREPROCESSOR, model)
    unit = 1 / says.get("rescale_factor", 1 / 255) if says.get("do_rescale", True) else 1.0
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    if says.get("do_normalize", True):
        mean, std = (tuple(says.get(f"image_{name}") or ()) for name in ("mean", "std"))
    if not len(mean) == len(std) == 3 or not all(std):
        return None
    if says.get("rescale_offset"):  # to -1 … 1 first
        mean = tuple(value + 1 for value in mean)
    if says.get("include_top"):  # EfficientNet's: divided by the deviations twice
        std = tuple(value**2 for value in std)
    size = _side(says.get("crop_size") or says.get("size"))
    return tuple(unit * value for value in mean), tuple(unit * value for value in std), size


def _timm(config: Mapping[str, Any]) -> Described | None:
    """By the `pretrained_cfg` in config.json."""
    says = config.get("pretrained_cfg", {})
    mean, std = (tuple(says.get(name) or ()) for name in ("mean", "std"))
    if not len(mean) == len(std) == 3 or not all(std):
        return None
    size = (says.get("input_size") or [3, 224, 224])[-1]
    return tuple(255 * value for value in mean), tuple(255 * value for value in std), size


def _side(size: Any) -> int:
    """Of 224, {"shortest_edge": 224} or {"height": 224, "width": 224}."""
    sides = list(size.values()) if isinstance(size, dict) else [size]
    return min((side for side in sides if isinstance(side, int)), default=224)
