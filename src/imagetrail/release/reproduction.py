"""The last commit's pipeline run in a second clone: do the same inputs give the same bytes?"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from imagetrail.base import pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_csv
from imagetrail.release import git_dvc, verification


def reproduce(root: Path = Path(), *, tolerance: float | None = None) -> tuple[int, list[str]]:
    """How many outs were compared with dvc.lock, and a line for each that differs.

    Only fetched and hand-added data is copied; all else is made anew, with no cache. tolerance: the
    numbers in JSON and CSV files are compared instead of bytes, and may differ by so much: for
    another kind of machine. Raises UserError without a commit, or if the pipeline fails.
    """
    git_dvc.refuse_without_commit(root, "a reproduction")
    with TemporaryDirectory(prefix="imagetrail-") as folder:
        clone = Path(folder) / "clone"
        git_dvc.demand(root, "clone", "--quiet", str(root.resolve()), str(clone))
        before = _results(clone)
        if not before:
            raise UserError(
                "the last commit has no dvc.lock with results; run `dvc repro` and commit it"
            )
        figures = {} if tolerance is None else {path: _numbers(clone / path) for path in before}
        _run(root, clone)
        if tolerance is None:
            after = _results(clone)
            other = [path for path in before if after.get(path) != before[path]]
            return len(before), [f"{path} has other bytes" for path in other]
        lines = [
            _difference(path, old, _numbers(clone / path), tolerance)
            for path, old in figures.items()
            if old
        ]
        return len(lines), [line for line in lines if line]


def _results(root: Path) -> dict[str, str]:
    return {
        path: md5
        for entry in pipeline.lock(root).values()
        for path, md5 in pipeline.results(entry).items()
    }


def _run(root: Path, clone: Path) -> None:
    """Runs the clone's own code on copies of what came from outside."""
    given = [*verification.tracked(clone), *verification.locked(clone, stage="fetch")]
    verification.refuse_differences(root, given)
    fetch = pipeline.stages(clone).get("fetch")
    for path in [out.path for out in given] + list(fetch.deps if fetch else ()):
        _copy(root / path, clone / path)
    (clone / "dvc.lock").unlink()
    environment = {
        "PYTHONPATH": f"{(clone / 'src').resolve()}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{clone / 'mlflow.db'}",
    }
    git_dvc.dvc(clone, "cache", "dir", "--local", str(clone / ".dvc" / "cache"))
    if owners := sorted({out.owner for out in given}):
        git_dvc.dvc(clone, "commit", "--force", *owners)
    git_dvc.dvc(clone, "repro", "--no-run-cache", environment=environment, shown=True)


def _copy(source: Path, target: Path) -> None:
    if target.exists() or not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _numbers(file: Path) -> list[float]:
    """The numbers in a JSON, YAML or CSV file, in its order; none in others or a missing one."""
    if file.suffix in (".json", ".yaml") and file.is_file():
        return list(_leaves(yaml.safe_load(file.read_text())))
    if file.suffix == ".csv" and file.is_file():
        return list(_leaves(read_csv(file)))
    return []


def _leaves(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
        return
    try:
        yield float(value)
    except (TypeError, ValueError):
        return


def _difference(path: str, old: list[float], new: list[float], tolerance: float) -> str:
    if len(old) != len(new):
        return f"{path} has {len(new)} numbers, not {len(old)}"
    most = max(abs(a - b) for a, b in zip(old, new, strict=True))
    return f"{path} differs by {most:.3g}" if not most <= tolerance else ""
