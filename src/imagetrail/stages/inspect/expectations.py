"""Findings about pictures that are not what data/schema.json expects."""

from collections.abc import Callable

from imagetrail.stages.inspect.schema import Schema
from imagetrail.stages.inspect.seen import Found, Seen, listed

TIMES = 2.0  # smaller or larger than any picture was: beyond it a size is new
SPREADS = 0.5  # of the pictures' means, by which their mean may move


def expected(look: Callable[[Schema, Schema], Found | None]) -> Callable[[Seen], Found | None]:
    """A finding that holds the schema of new pictures against that of this data set, if any."""

    def look_if_known(seen: Seen) -> Found | None:
        old = seen.expected
        return look(old, seen.schema) if old and old.data == seen.schema.data else None

    return look_if_known


def no_schema(seen: Seen) -> Found | None:
    old = seen.expected
    if old and old.data == seen.schema.data:
        return None
    what = f"is of {old.data!r}" if old else "expects nothing yet"
    return Found(f"data/schema.json {what}, so nothing was held against it", 1)


def missing_classes(old: Schema, new: Schema) -> Found | None:
    names = [name for name in old.classes if name not in new.classes]
    return Found(f"expected, and not here: {listed(names)}", len(names)) if names else None


def new_classes(old: Schema, new: Schema) -> Found | None:
    names = [name for name in new.classes if name not in old.classes]
    return Found(f"not expected: {listed(names)}", len(names)) if names else None


def new_formats(old: Schema, new: Schema) -> Found | None:
    names = [name for name in new.formats if name not in old.formats]
    text = f"{listed(names)} beside {listed(old.formats) or 'none'}"
    return Found(text, len(names)) if names else None


def new_channels(old: Schema, new: Schema) -> Found | None:
    names = [name for name in new.modes if name not in old.modes]
    text = f"mode {listed(names)} beside {listed(old.modes) or 'none'}"
    return Found(text, len(names)) if names else None


def new_sizes(old: Schema, new: Schema) -> Found | None:
    beyond = [
        f"{name} {now[0]} to {now[1]} beside {before[0]} to {before[1]}"
        for name, before, now in (
            ("width", old.width, new.width),
            ("height", old.height, new.height),
        )
        if now[0] * TIMES < before[0] or now[1] > TIMES * before[1]
    ]
    return Found("; ".join(beyond), len(beyond)) if beyond else None


def new_brightness(old: Schema, new: Schema) -> Found | None:
    (before, spread), (now, _) = old.brightness, new.brightness
    if abs(now - before) <= SPREADS * max(spread, 1):
        return None
    return Found(f"mean {now:.1f} beside {before:.1f}, where pictures vary by {spread:.1f}", 1)
