"""Findings about what there is to learn from: classes, their sizes, and files that are left out."""

from collections import Counter
from pathlib import PurePosixPath

from imagetrail.base.words import count_of, percent
from imagetrail.stages.inspect.inspection import Inspection
from imagetrail.stages.inspect.seen import Found, Seen, listed

IMBALANCE = 10  # times as many pictures in the largest class as in the smallest
SCARCE = 100  # pictures of a class: with fewer, its recall on a fifth of them is known to ± 20 %


def broken(seen: Seen) -> Found | None:
    """More unreadable pictures than are acceptable."""
    bad = len(seen.found.unreadable)
    if bad <= seen.limits.max_unreadable * len(seen.pictures):
        return None
    return Found(words_of_broken(seen.found), bad)


def words_of_broken(found: Inspection) -> str:
    """How many pictures cannot be read, of some that cannot."""
    bad, count = found.unreadable, len(found.pictures)
    first = f"the first is {bad[0]['source']}: {bad[0]['reason']}"
    share = percent(len(bad) / count, 1)
    return f"{len(bad)} of {count} pictures cannot be read ({share}), {first}"


def unreadable(seen: Seen) -> Found | None:
    bad = seen.found.unreadable
    names = [f"{fault['source']}: {fault['reason']}" for fault in bad]
    text = f"{count_of(len(bad), 'picture')} cannot be read: {listed(names, 2)}"
    return Found(text, len(bad)) if bad else None


def ignored(seen: Seen) -> Found | None:
    names = [name for name, _ in seen.pictures.ignored]
    kinds = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)
    words = listed([f"{number:,} {kind}" for kind, number in kinds.most_common()])
    if not names:
        return None
    name, why = seen.pictures.ignored[0]
    text = f"{count_of(len(names), 'file')} passed over: {words}; the first is {name}: {why}"
    return Found(text, len(names))


def few_pictures(seen: Seen) -> Found | None:
    """Classes that cannot be learned: too few of them all in all, or none to learn from."""
    poor = []
    for label, name in enumerate(seen.pictures.classes):
        counts = _counts(seen, label)
        if sum(counts.values()) < seen.limits.min_per_class or counts.get("train") == 0:
            poor.append(f"class {name!r} has too few readable pictures: {_words(counts)}")
    if not poor:
        return None
    return Found(f"{listed(poor, 3)}; {seen.limits.min_per_class} are needed", len(poor))


def class_not_in_split(seen: Seen) -> Found | None:
    """Classes that a published valid or test set cannot judge."""
    absent = [
        f"{split} has no readable picture of class {name!r}"
        for label, name in enumerate(seen.pictures.classes)
        for split, count in _counts(seen, label).items()
        if split in ("valid", "test") and not count
    ]
    return Found(listed(absent, 3), len(absent)) if absent else None


def _counts(seen: Seen, label: int) -> dict[str, int]:
    """Readable pictures of a class on each published split, or on "" alone."""
    return {split: seen.found.counts[split, label] for split in sorted(set(seen.pictures.splits))}


def _words(counts: dict[str, int]) -> str:
    named = [f"{count} in {split}" if split else str(count) for split, count in counts.items()]
    return ", ".join(named)


def nothing_to_learn(seen: Seen) -> Found | None:
    found = seen.found
    if found.low != found.high:
        return None
    return Found(f"every pixel of every picture is {found.low}", len(seen.readable))


def _sizes(seen: Seen) -> dict[str, int]:
    """Readable pictures of each class, the fewest first."""
    counts: Counter[str] = Counter(dict.fromkeys(seen.pictures.classes, 0))
    for (_, label), number in seen.found.counts.items():
        counts[seen.pictures.classes[label]] += number
    return dict(reversed(counts.most_common()))


def imbalance(seen: Seen) -> Found | None:
    sizes = list(_sizes(seen).items())
    (smallest, few), (largest, many) = sizes[0], sizes[-1]
    if many < IMBALANCE * max(few, 1):
        return None
    small = [name for name, number in sizes if many >= IMBALANCE * max(number, 1)]
    text = f"{largest!r} has {many:,} pictures, {smallest!r} {few:,}"
    return Found(f"{text}; {IMBALANCE} times fewer than the largest: {listed(small)}", len(small))


def scarce_classes(seen: Seen) -> Found | None:
    scarce = [f"{name} ({number})" for name, number in _sizes(seen).items() if number < SCARCE]
    text = (
        f"{len(scarce)} of {len(seen.pictures.classes)} classes have fewer than {SCARCE} pictures"
    )
    return Found(f"{text}: {listed(scarce)}", len(scarce)) if scarce else None
