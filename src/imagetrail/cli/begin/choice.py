"""A choice of params with its reason, so that it can be doubted."""

from dataclasses import dataclass
from typing import Any

Params = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    values: Params  # by their dotted keys
    why: str
