"""Every byte against the hash that dvc.lock, DVC's cache or the ledger has of it.

DVC itself trusts the times and sizes of files it has seen, and the names of files in its cache.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from imagetrail.base import hashing, paths, pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.params import check, read_yaml
from imagetrail.base.paths import CHAMPION_MODEL, CHAMPION_POINTER
from imagetrail.release import git_dvc, ledger

OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Finding:
    path: str  # relative to the repository, where it is inside
    fault: str
    heal: str

    def __str__(self) -> str:
        return f"{self.path} {self.fault}; {self.heal}"


@dataclass(frozen=True)
class Out:
    owner: str  # a stage or a .dvc file, as DVC's commands take it
    path: str
    md5: str
    cached: bool = True  # False: git keeps it

    @property
    def source(self) -> str:
        return self.owner if self.owner.endswith(".dvc") else f"dvc.lock (stage {self.owner})"


class _Entry(BaseModel):
    """What is read of an out in dvc.lock or a .dvc file."""

    path: str
    md5: str
    cache: bool = True


class _Entries(BaseModel):
    outs: list[_Entry] = []


def verify(root: Path, cache: Path) -> list[Finding]:
    """What is wrong in the repository and in DVC's cache; re-hashes everything.

    Raises UserError if dvc.lock or a .dvc file cannot be read.
    """
    outs = [*locked(root), *tracked(root)]
    missing = [
        Finding(
            "dvc.lock", f"says nothing of {path}, which stage {stage.name} makes", "run `dvc repro`"
        )
        for stage in pipeline.stages(root).values()
        for path in stage.outs
        if not any(out.path == path for out in outs)
    ]
    with ThreadPoolExecutor() as pool:
        wrong = dict(
            zip(outs, pool.map(lambda out: _difference(root, out, cache), outs), strict=True)
        )
    found = [finding for finding in wrong.values() if finding]
    return [*missing, *found, *_objects(root, cache, wrong), *_runs(root, cache), *_champion(root)]


def refuse_differences(root: Path, outs: Iterable[Out]) -> None:
    """Raises UserError unless these outs are on disk as dvc.lock says."""
    if wrong := [finding for out in outs if (finding := _difference(root, out))]:
        raise UserError("\n".join(map(str, wrong)))


def locked(root: Path, *folders: Path, stage: str | None = None) -> list[Out]:
    """The outs in dvc.lock of dvc.yaml's stages, or of one; with `folders`: those inside them."""
    entries = check(dict[str, _Entries], pipeline.lock(root), "dvc.lock: stages")
    outs = [
        Out(name, out.path, out.md5, out.path not in described.uncached)
        for name, described in pipeline.stages(root).items()
        if name in entries and stage in (None, name)
        for out in entries[name].outs
    ]
    return [
        out
        for out in outs
        if not folders or any(Path(out.path).is_relative_to(folder) for folder in folders)
    ]


def tracked(root: Path) -> Iterator[Out]:
    """The outs of .dvc files: what was added by hand, and the champion."""
    for base, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in sorted(Path(base, name) for name in names if name.endswith(".dvc")):
            name, folder = _inside(root, file), file.parent.relative_to(root)
            try:
                outs = check(_Entries, read_yaml(file), name).outs
            except UserError as error:
                raise UserError(f"{error}; `git checkout -- {name}` brings it back") from None
            for out in outs:
                yield Out(name, (folder / out.path).as_posix(), out.md5, out.cache)


def _difference(root: Path, out: Out, cache: Path | None = None) -> Finding | None:
    """How an out on disk differs from its hash; with a cache, it names the files of a folder."""
    path = root / out.path
    if not path.exists():
        heal = f"`dvc checkout {out.path}`"
        if cache is None or not git_dvc.cached(cache, out.md5).exists():
            heal += f" or `dvc pull {out.path}`"
        return Finding(out.path, f"is missing, which {out.source} names", f"run {heal}")
    files = hashing.contents(path) if path.is_dir() else {}
    if (hashing.listing_md5(files) if path.is_dir() else hashing.md5(path)) == out.md5:
        return None
    known = listing(cache, out.md5) if cache else {}
    names = files.keys() | known.keys() if known else set()
    which = sorted(name for name in names if files.get(name) != known.get(name))
    shown = f": {', '.join(which[:3])}{' …' if which[3:] else ''}" if which else ""
    heal = (
        f"`rm -r {out.path}; dvc checkout {out.path}`"
        if out.cached
        else f"`git checkout -- {out.path}` or `dvc repro`"
    )
    return Finding(out.path, f"is not what {out.source} says{shown}", f"run {heal}")


def _objects(root: Path, cache: Path, wrong: dict[Out, Finding | None]) -> Iterator[Finding]:
    """Files of the cache whose content is not their name, and those that are not there."""
    users = {md5: out for out in wrong if out.cached for md5 in _needs(cache, out)}
    files = sorted((cache / "files" / "md5").glob("??/*"))
    named = {file: name for file in files if OBJECT.fullmatch(name := file.parent.name + file.name)}
    for file, found in hashing.hashed(named):
        name = named[file]
        if found != name.removesuffix(".dir"):
            user = users.get(name)
            path = _inside(root, file)
            then = f", then {_refill(user, wrong[user])}" if user else "; no out needs it"
            fault = "in DVC's cache holds something else than its name says"
            yield Finding(path, fault, f"run `rm -f {path}`{then}")
    held = set(named.values())
    for md5, user in users.items():
        if (root / user.path).exists() and md5 not in held:
            fault = f"is not in DVC's cache, or a part of it ({md5})"
            yield Finding(user.path, fault, f"run {_refill(user, wrong[user])}")


def _needs(cache: Path, out: Out) -> list[str]:
    return [out.md5, *listing(cache, out.md5).values()]


def listing(cache: Path, md5: str) -> dict[str, str]:
    """The MD5 of each file of a folder, by its path inside; empty if the cache does not know it."""
    file = git_dvc.cached(cache, md5)
    if not md5.endswith(".dir") or not file.exists():
        return {}
    text = file.read_bytes()
    if hashlib.md5(text).hexdigest() != md5.removesuffix(".dir"):
        return {}
    return {row["relpath"]: row["md5"] for row in json.loads(text)}


def _refill(user: Out, damaged: Finding | None) -> str:
    """The command that puts an out's content back into the cache."""
    if not damaged:
        return f"`dvc commit --force {user.owner}`"
    remake = (
        ""
        if user.owner.endswith(".dvc")
        else f" or, without a remote, `dvc repro --force --single-item {user.owner}`"
    )
    return f"`dvc fetch {user.path}`{remake}"


def _runs(root: Path, cache: Path) -> Iterator[Finding]:
    """Entries of DVC's run-cache that are not the run they are named after: DVC believes them."""
    for file in sorted((cache / "runs").glob("??/*/*")):
        being_written = len(file.name) != 64
        if not being_written and _run_hash(file) != file.name:
            heal = f"run `rm -r {_inside(root, file.parent)}`"  # DVC fails on an empty folder there
            yield Finding(_inside(root, file), "is no run that DVC has noted", heal)


def _run_hash(file: Path) -> str:
    """The name that DVC gives to an entry: a hash of all but sizes; empty where it is not YAML."""
    try:  # PyYAML takes the 1e-05 that DVC writes for text: it is a number since YAML 1.2
        entry = YAML(typ="safe").load(file)
        text = json.dumps(_without_sizes(entry), sort_keys=True)
    except (YAMLError, ValueError, TypeError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def _without_sizes(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_sizes(item) for item in value]
    if isinstance(value, dict):
        kept = value.keys() - {"size", "nfiles"}
        return {key: _without_sizes(value[key]) for key in kept}
    return value


def _champion(root: Path) -> Iterator[Finding]:
    """Whether the champion is the one that the ledger's last line names."""
    try:
        history, tracked = ledger.read(root), ledger.tracked(root)
    except UserError as error:
        yield Finding(str(paths.CHAMPION), "cannot be read", str(error))
        return
    if not history:
        if tracked:
            lost = git_dvc.git(root, "ls-files", "--", str(paths.LEDGER))
            heal = f"git checkout -- {paths.LEDGER}" if lost else "imagetrail promote"
            fault = "is of no promotion in the ledger"
            yield Finding(str(CHAMPION_POINTER), fault, f"run `{heal}`")
        return
    if doubt := ledger.doubts(root, history):
        yield Finding(f"{paths.LEDGER}:", *doubt.rsplit("; ", 1))
    last, model = history[-1], root / CHAMPION_MODEL
    heal = f"run `imagetrail rollback {last.number}`"
    if tracked != last.champion:
        yield Finding(
            str(CHAMPION_POINTER), f"is not the champion of the ledger's line {last.number}", heal
        )
    elif model.exists() and hashing.sha256(model) != last.model:
        yield Finding(
            str(CHAMPION_MODEL), f"is not the model of the ledger's line {last.number}", heal
        )


def _inside(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
