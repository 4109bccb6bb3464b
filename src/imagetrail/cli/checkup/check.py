"""What a check of `imagetrail doctor` says."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Check:
    state: State
    found: str
    cure: str = ""  # of what is not ok


def ok(found: str) -> Check:
    return Check("ok", found)


def warning(found: str, cure: str) -> Check:
    return Check("warning", found, cure)


def fault(found: str, cure: str) -> Check:
    return Check("fault", found, cure)
