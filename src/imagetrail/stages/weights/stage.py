"""Bring in the network that recipe.model takes from the Hugging Face hub.

Reads the hub, writes data/hub: those files and no others, with the bytes of before. Networks of our
own leave it empty but for a note. A stage of its own, so that another network fetches no picture.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from imagetrail.base import hub, paths
from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing, write_json
from imagetrail.base.hashing import sha256
from imagetrail.base.params import load
from imagetrail.base.terminal import say
from imagetrail.data import addresses, checksums
from imagetrail.data.sources import LOCAL

ADDRESS = "https://huggingface.co"
PINNED = "pretrain.sha256 in params.yaml"
TEXT_OR_NULL: Any = str | None  # mypy takes no union where a type is wanted


def run() -> None:
    model, revision = load(str, "recipe.model"), load(str, "pretrain.revision")
    digest = load(TEXT_OR_NULL, "pretrain.sha256")
    with replacing(paths.HUB) as folder:
        fetch(model, revision, digest, folder)


def fetch(model: str, revision: str, digest: str | None, folder: Path) -> None:
    """Puts the files of a network into `folder`, below its name, and notes them in hub.json.

    Nothing is fetched for networks of our own, or if the user has put the files into data/weights.
    digest: the SHA-256 that the weights must have; without one, that noted when they came first.
    Raises UserError for what cannot be had, has changed, or is no safetensors file.
    """
    folder.mkdir(parents=True)
    facts: dict[str, Any] = {"model": model if hub.named(model) else None}
    if hub.named(model):
        hub.check(model)
        if hub.own_folder(model).is_dir():
            facts["where"] = str(hub.own_folder(model))
        else:
            facts["revision"] = revision
            facts["files"] = _files(model, revision, digest, folder / hub.repository(model))
        say(f"{model}: from {facts.get('where', f'{ADDRESS}, {revision}')}")
    write_json(folder / "hub.json", facts)


def _files(model: str, revision: str, digest: str | None, folder: Path) -> dict[str, str]:
    """The checksum of each file; the weights, which are large, come last."""
    folder.mkdir(parents=True)
    top = f"{ADDRESS}/{hub.repository(model)}/resolve/{revision}"
    found: dict[str, str] = {}
    for name in hub.files(model):
        weights = name == hub.WEIGHTS
        if weights:
            hub.read_config(folder, model)
        found[name] = _obtain(model, f"{top}/{name}", folder / name)
        checksums.compare(f"{top}/{name}", found[name], digest if weights else None, PINNED)
    for name, sent in found.items():
        if not (name == hub.WEIGHTS and digest):
            checksums.note(f"{top}/{name}", sent)
    return found


def _obtain(model: str, address: str, target: Path) -> str:
    """Copies a file from the user's mirror if it has it, or else from its address."""
    if mirror := os.environ.get(LOCAL):
        place = Path(mirror) / hub.repository(model)
        if target.name == hub.WEIGHTS and place.is_dir():
            hub.check_weights(place, model)
        if (place / target.name).is_file():
            shutil.copyfile(place / target.name, target)
            return sha256(target)
    try:
        return addresses.download(address, target)
    except UserError as error:
        _explain(model, address)
        raise UserError(f"{error}; or put its files into {hub.own_folder(model)}") from None


def _explain(model: str, address: str) -> None:
    """Raises UserError if what is there in the place of weights is nothing that is read."""
    top, _, name = address.rpartition("/")
    if name == hub.WEIGHTS:
        others = [other for other in hub.OTHERS if addresses.exists(f"{top}/{other}")]
        if others:
            raise hub.no_weights(model, top, others)
