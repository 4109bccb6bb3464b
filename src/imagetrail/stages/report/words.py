"""How figures are written on the page: one minus sign, one way for each kind of number."""

import re
from collections.abc import Callable
from html import escape
from typing import Any

from imagetrail.base.words import percent

SMALLEST = 0.001  # of p: less is not told from 0 by three digits


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    text = f"{100 * float(value):+.2f}"
    return "0.00" if float(text) == 0 else minus(text)


def between(low: float, high: float) -> str:
    """An interval of differences."""
    return f"{points(low)} … {points(high)}"


def thousands(value: float) -> str:
    return f"{int(value):,}"


def short(value: Any) -> str:
    return minus(f"{value:.3g}") if isinstance(value, float) else str(value)


def chance(p: float) -> str:
    """A p-value, which is never 0."""
    return f"{p:.3f}" if p >= SMALLEST else f"< {SMALLEST}"


def minus(text: str) -> str:
    """Text of another stage with real minus signs before its numbers."""
    return re.sub(r"(?<![\w.)-])-(?=\d)", "−", text)


def sentence(text: str) -> str:
    """Text that begins with a capital and ends with a full stop."""
    text = minus(text.strip())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def coded(text: str) -> str:
    """HTML of text in which what stands between backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def name(text: str) -> str:
    """The name of a check, finding or method as words."""
    return text.replace("_", " ")


FILTERS: dict[str, Callable[..., str]] = {
    "percent": percent,
    "points": points,
    "thousands": thousands,
    "short": short,
    "chance": chance,
    "minus": minus,
    "sentence": sentence,
    "coded": coded,
    "words": name,
}
