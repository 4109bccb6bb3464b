"""The machine: disk, memory, files, processors, clock."""

import os
import resource
import shutil
import time
from pathlib import Path

import psutil

from imagetrail.base import pipeline
from imagetrail.base.errors import UserError
from imagetrail.cli.checkup.check import Check, fault, ok, warning
from imagetrail.release import git_dvc

GB = 1e9
LEAST = 1.0  # GB of disk, or of memory, below which nothing works
ROOM = 4.0  # GB of memory that torch and a million pixels a batch take, with some to spare
INODES = 50_000  # files
DESCRIPTORS = 1024
SKEW = 60  # seconds
CONTAINER = Path("/sys/fs/cgroup")
MEMORY = (  # its limit and what it uses of it, in versions 2 and 1
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def disk(root: Path) -> Check:
    """Whether as much again as the last run made would fit."""
    if not os.access(root, os.W_OK):
        return fault(f"{root.resolve()} cannot be written", "run as the user who owns it")
    free, wanted = shutil.disk_usage(root).free / GB, max(_made(root) / GB, LEAST)
    found = f"{free:.1f} GB free, a run takes about {wanted:.1f} GB"
    cure = "free some: `dvc gc --workspace` removes what no file here needs"
    if free < wanted:
        return fault(found, cure)
    files = os.statvfs(root)
    if files.f_files and files.f_favail < INODES:
        return warning(f"{files.f_favail:,} more files fit on the disk", cure)
    return warning(found, cure) if free < 3 * wanted else ok(found)


def _made(root: Path) -> int:
    """Bytes of all outs in dvc.lock."""
    try:
        entries = pipeline.lock(root).values()
    except (UserError, AttributeError):  # the check of DVC tells of it
        return 0
    return sum(int(out.get("size", 0)) for entry in entries for out in entry.get("outs", ()))


def memory(_: Path) -> Check:
    """What is free, of the machine or of the container."""
    free = min([psutil.virtual_memory().available, *_of_container()]) / GB
    found = f"{free:.1f} GB free"
    cure = "end other programs, or set IMAGETRAIL_WORKERS=1 and a smaller recipe.batch_size"
    if free < LEAST:
        return fault(found, cure)
    return warning(found, cure) if free < ROOM else ok(found)


def _of_container() -> list[float]:
    free = []
    for names in MEMORY:
        limit, used = (CONTAINER / name for name in names)
        if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
            free.append(float(limit.read_text()) - float(used.read_text()))
    return free


def files(_: Path) -> Check:
    """How many a process may have open."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most != resource.RLIM_INFINITY and most < DESCRIPTORS:
        return warning(f"a process may open {most} files", f"run `ulimit -n {DESCRIPTORS}`")
    return ok("as many open as are needed")


def processors(_: Path) -> Check:
    count, load = os.cpu_count() or 1, os.getloadavg()[0]
    found = f"{count}, load {load:.1f}"
    if load > 2 * count:
        return warning(found, "wait for other programs: the run would take many times as long")
    return ok(found)


def clock(root: Path) -> Check:
    """Whether what is here was made in the past."""
    told = git_dvc.git(root, "log", "-1", "--format=%ct") or "0"
    lock = root / "dvc.lock"
    newest = max(float(told), lock.stat().st_mtime if lock.exists() else 0)
    ahead = newest - time.time()
    if ahead > SKEW:
        found = f"{ahead:.0f} s behind the last commit or dvc.lock"
        return fault(found, "set the clock: `timedatectl set-ntp true`")
    return ok(time.strftime("%Y-%m-%d %H:%M:%S %Z"))
