"""`imagetrail doctor`: what would go wrong in hours, told in seconds."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from imagetrail.base.errors import UserError
from imagetrail.base.terminal import say

if TYPE_CHECKING:  # the other commands start without it
    from imagetrail.cli.checkup.check import Check

PATIENCE = 4.0  # seconds for what may hang, as a server or a mounted folder does


def doctor() -> None:
    """Check machine, project and servers before a long run; exit code 1 if there is a fault."""
    from imagetrail.cli.checkup import machine, project, servers

    checks: dict[str, Callable[[Path], Check]] = {
        "git": project.git,
        "dvc": project.dvc,
        "locks": project.locks,
        "versions": project.versions,
        "disk": machine.disk,
        "memory": machine.memory,
        "open files": machine.files,
        "processors": machine.processors,
        "clock": machine.clock,
        "mlflow": servers.mlflow,
        "servers": servers.others,
    }
    others = _run(checks)
    found = {"params": _told(project.params)} | others()  # it works all the time, and asks nobody
    for name, check in found.items():
        say(f"{check.state:<8} {name:<11} {check.found}")
        if check.cure:
            say(f"{'':<20} cure: {check.cure}")
    if any(check.state == "fault" for check in found.values()):
        raise typer.Exit(1)


def _run(checks: "dict[str, Callable[[Path], Check]]") -> "Callable[[], dict[str, Check]]":
    """Begins all at once; what it returns waits for them, but not for long for one that hangs."""
    from imagetrail.cli.checkup.check import warning

    found: dict[str, Check] = {}

    def run(name: str) -> None:
        found[name] = _told(checks[name])

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in checks]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE

    def wait() -> "dict[str, Check]":
        for thread in threads:
            thread.join(max(0.1, deadline - time.monotonic()))
        hangs = warning(f"no answer within {PATIENCE:.0f} s", "look at it by hand")
        return {name: found.get(name, hangs) for name in checks}

    return wait


def _told(check: "Callable[[Path], Check]") -> "Check":
    from imagetrail.cli.checkup.check import fault

    try:
        return check(Path())
    except UserError as error:  # which has its cure in it
        what, _, cure = str(error).splitlines()[0].partition("; ")
        return fault(what, cure)
    except (OSError, ValueError) as error:
        return fault(f"cannot be told: {error}", "look at it by hand")
