"""What a run was, beside its results: times, machine, versions, commit, addresses in MLflow.

It differs each time, so it is on no page that a stage makes. `run.js`, which is no out, lies beside
the report and brings it there when the page is opened; a copy that is published has it inside.
"""

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from imagetrail.base import paths, pipeline
from imagetrail.base.files import read_json, replacing
from imagetrail.release import git_dvc

PACKAGES = (
    "imagetrail",
    "torch",
    "onnxruntime",
    "numpy",
    "optuna",
    "albumentations",
    "dvc",
    "mlflow",
)
WATTS_A_CORE = 10.0  # of a server's or laptop's processor at work, its memory included: assumed
WATTS_A_GPU = 250.0  # at work: assumed
LOCAL = "http://127.0.0.1:5000"  # of `imagetrail ui`, as a rule
TAG = '<script src="run.js"></script>'  # in the page


def gather(root: Path, links: Mapping[str, str]) -> dict[str, Any]:
    """links: words to addresses in MLflow."""
    stages = [_stage(root, name) for name in pipeline.stages(root)]
    timed = [stage for stage in stages if stage]
    cores = os.cpu_count() or 1
    joules = sum(stage["seconds"] * _watts(stage, cores) for stage in timed)
    commit = git_dvc.head(root)
    changed = git_dvc.git(root, "status", "--porcelain", "--untracked-files=no", "--", "src")
    return {
        "date": _date(timed),
        "stages": timed,
        "seconds": sum(stage["seconds"] for stage in timed),
        "watt_hours": joules / 3600,
        "assumed": f"{WATTS_A_CORE:g} W a core, {WATTS_A_GPU:g} W more where a GPU was used",
        "machine": {
            "processor": _processor(),
            "cores": cores,
            "system": f"{platform.system()} {platform.machine()}",
            "Python": platform.python_version(),
        },
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": commit + (" and changes to src" if commit and changed else ""),
        "links": dict(links),
    }


def write(root: Path, *, links: Mapping[str, str] | None = None) -> str:
    """Writes run.js beside the report; returns what is in it."""
    facts = json.dumps(gather(root, links or {}), ensure_ascii=True)
    script = f"window.imagetrailRun = {facts.replace('<', chr(92) + 'u003c')};\n"
    with replacing(root / paths.ARTIFACTS / "report" / "run.js") as temporary:
        temporary.write_text(script)
    return script


@contextmanager
def page(root: Path, links: Mapping[str, str]) -> Iterator[Path]:
    """Writes run.js, and yields a copy of the report with it inside, which can go elsewhere alone.

    Of a project without a report there is no copy: the path that is yielded does not exist.
    """
    report = root / paths.ARTIFACTS / "report" / "index.html"
    with TemporaryDirectory() as folder:
        copy = Path(folder) / report.name
        if report.exists():
            script = write(root, links=links)
            copy.write_text(report.read_text().replace(TAG, f"<script>{script}</script>", 1))
        yield copy


def links(address: str, experiment: str, run: str) -> dict[str, str]:
    """The pages of a run and of its like; address: of the server, or of a database."""
    here = "" if address.startswith("http") else " (while imagetrail ui runs)"
    server = LOCAL if here else address.rstrip("/")
    runs = f"{server}/#/experiments/{experiment}/runs"
    return {f"this run{here}": f"{runs}/{run}", f"all runs{here}": runs}


def _stage(root: Path, name: str) -> dict[str, Any] | None:
    file = root / paths.ARTIFACTS / name / "timing.json"
    if not file.exists():
        return None
    timing = read_json(file)
    return {
        "stage": name,
        "started": float(timing.get("started", 0)),
        "seconds": float(timing.get("seconds", 0)),
        "memory": timing.get("peak_rss_bytes", 0),
        "device": str(timing.get("device", "cpu")),
    }


def _date(timed: list[dict[str, Any]]) -> str:
    """The day in UTC on which the last stage began; empty if none is known."""
    last = max((stage["started"] for stage in timed), default=0.0)
    return datetime.fromtimestamp(last, UTC).date().isoformat() if last else ""


def _watts(stage: Mapping[str, Any], cores: int) -> float:
    return WATTS_A_CORE * cores + (0.0 if stage["device"] == "cpu" else WATTS_A_GPU)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    """The model of the processor; on Linux the kernel has its name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
