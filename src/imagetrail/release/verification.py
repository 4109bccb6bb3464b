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

from pydantic import BaseModel

from imagetrail.base import hashing, paths, pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.params import check, read_yaml
from imagetrail.base.paths import CHAMPION_MODEL, CHAMPION_POINTER
from imagetrail.release import git_dvc, ledger, run_cache

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
    """What is wrong in the repository and in DVC's cache; re-hashes everything. Raises UserError if it cannot be read."""
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
    """The outs in dvc.lock of the stages in dvc.yaml, or of one stage; with `folders`: those inside them."""
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
            for out in check(_Entries, read_yaml(file), name).outs:
                yield Out(name, (folder / out.path).as_posix(), out.md5, out.cache)


def _difference(root: Path, out: Out, cache: Path | None = None) -> Finding | None:
    """How an out on disk differs from its hash; with a cache, it names the files of a folder."""
    path = root / out.path
    if not path.exists():
        here = cache is None or git_dvc.cached(cache, out.md5).exists()
        heal = f"`dvc checkout {out.path}`" + (
            "" if here and cache else f" or `dvc pull {out.path}`"
        )
        return Finding(out.path, f"is missing, which {out.source} names", f"run {heal}")
    files = hashing.contents(path) if path.is_dir() else {}
    if (hashing.listing_md5(files) if path.is_dir() else hashing.md5(path)) == out.md5:
        return None
    known = listing(cache, out.md5) if cache else {}
    which = (
        sorted(name for name in files.keys() | known.keys() if files.get(name) != known.get(name))
        if known
        else []
    )
    names = f": {', '.join(which[:3])}{' …' if which[3:] else ''}" if which else ""
    heal = (
        f"`rm -r {out.path}; dvc checkout {out.path}`"
        if out.cached
        else f"`git checkout -- {out.path}` or `dvc repro`"
    )
    return Finding(out.path, f"is not what {out.source} says{names}", f"run {heal}")


def _objects(root: Path, cache: Path, wrong: dict[Out, Finding | None]) -> Iterator[Finding]:
    """Files of the cache whose content is not their name, and those that are not there."""
    users = {md5: out for out in wrong if out.cached for md5 in _needs(cache, out)}
    files = sorted((cache / "files" / "md5").glob("??/*"))
    here = {file: name for file in files if OBJECT.fullmatch(name := file.parent.name + file.name)}
    for file, found in hashing.hashed(here):
        name = here[file]
        if found != name.removesuffix(".dir"):
            user = users.get(name)
            heal = f"`rm -f {_inside(root, file)}`" + (
                f", then {_refill(user, wrong[user])}" if user else "; no out needs it"
            )
            yield Finding(
                _inside(root, file),
                "in DVC's cache holds something else than its name says",
                f"run {heal}",
            )
    for md5, user in users.items():
        if (root / user.path).exists() and md5 not in here.values():
            fault = f"is not in DVC's cache, or a part of it ({md5})"
            yield Finding(user.path, fault, f"run {_refill(user, wrong[user])}")


def _needs(cache: Path, out: Out) -> list[str]:
    return [out.md5, *listing(cache, out.md5).values()]


def listing(cache: Path, md5: str) -> dict[str, str]:
    """The MD5 of each file of a folder, by its path inside; empty for a file, or where the cache cannot say."""
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
    """Entries of DVC's run-cache that are not as DVC wrote them."""
    sizes = run_cache.sizes(pipeline.lock(root).values())
    for file in sorted((cache / "runs").glob("??/*/*")):
        if len(file.name) == 64 and not run_cache.is_whole(
            file, sizes
        ):  # one that is being written has another name
            yield Finding(
                _inside(root, file),
                "is no run that DVC has noted",
                f"run `rm -f {_inside(root, file)}`",
            )


def _champion(root: Path) -> Iterator[Finding]:
    """Whether the champion is the one that the ledger's last line names."""
    try:
        history, tracked = ledger.read(root), ledger.tracked(root)
    except UserError as error:
        yield Finding(str(paths.CHAMPION), "cannot be read", str(error))
        return
    if not history:
        if tracked:
            yield Finding(
                str(CHAMPION_POINTER),
                "is of no promotion in the ledger",
                "run `imagetrail promote`",
            )
        return
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
