"""All that can be found wrong with a data set: the one table, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from imagetrail.stages.inspect import classes, copies, expectations, oddities, shortcuts
from imagetrail.stages.inspect.expectations import expected
from imagetrail.stages.inspect.seen import Found, Group, Seen
from imagetrail.stages.inspect.shortcuts import shortcut

Severity = Literal["fatal", "warning", "note"]  # worst first
SEVERITIES: tuple[Severity, ...] = ("fatal", "warning", "note")
NAMED = 20  # pictures of a finding that are named and shown


@dataclass(frozen=True)
class Kind:
    """A thing that may be wrong: how bad, how it is found, what to do."""

    severity: Severity
    look: Callable[[Seen], Found | None]
    cure: str  # a sentence


@dataclass(frozen=True)
class Finding:
    """A thing that is wrong with these pictures."""

    name: str
    severity: Severity
    text: str
    number: int
    groups: tuple[Group, ...]  # of pictures, NAMED in all
    cure: str


SAVE_ALIKE = "Save all pictures in one way, or make sure that new ones differ in the same way."
NO_SCHEMA = "Run `imagetrail schema` to hold new pictures against these."
SCHEMA = "Mend the pictures, or accept them by `imagetrail schema`."

FINDINGS: dict[str, Kind] = {
    "broken": Kind(
        "fatal", classes.broken, "Mend the files, or raise inspect.max_unreadable in params.yaml."
    ),
    "few_pictures": Kind(
        "fatal", classes.few_pictures, "Add pictures of it, or take the class out."
    ),
    "nothing_to_learn": Kind(
        "fatal", classes.nothing_to_learn, "There is nothing to learn from: look at the files."
    ),
    "group_across_splits": Kind(
        "fatal",
        copies.group_across_splits,
        "Put all pictures of a group on one split, or publish no split.",
    ),
    "missing_classes": Kind("fatal", expected(expectations.missing_classes), SCHEMA),
    "new_classes": Kind("fatal", expected(expectations.new_classes), SCHEMA),
    "class_not_in_split": Kind(
        "warning",
        classes.class_not_in_split,
        "Add pictures of it there, or publish no such split; until then it is never judged.",
    ),
    "unreadable": Kind(
        "warning", classes.unreadable, "Mend them, or leave them out as quarantine.csv does."
    ),
    "ignored": Kind(
        "warning",
        classes.ignored,
        "Give what is a picture the name of one and a class; remove what is none.",
    ),
    "wrong_suffix": Kind(
        "warning", oddities.wrong_suffix, "They are read by their content; rename them."
    ),
    "exact_label_clash": Kind(
        "warning", copies.exact_label_clash, "Give each its right label in data/corrections.csv."
    ),
    "near_label_clash": Kind(
        "warning", copies.near_label_clash, "Give each its right label in data/corrections.csv."
    ),
    "exact_across_splits": Kind(
        "warning",
        copies.exact_across_splits,
        "The model must not be judged on what it has learned: keep one of each.",
    ),
    "near_across_splits": Kind(
        "warning",
        copies.near_across_splits,
        "The model must not be judged on what it has learned: keep one of each.",
    ),
    "near_duplicates": Kind(
        "warning", copies.near_duplicates, "Keep the best of each; split holds them together."
    ),
    "imbalance": Kind(
        "warning", classes.imbalance, "Add pictures of the small classes, or judge by macro F1."
    ),
    "shortcut_file_size": Kind("warning", shortcut("file size"), SAVE_ALIKE),
    "shortcut_format": Kind("warning", shortcut("file format"), SAVE_ALIKE),
    "shortcut_camera": Kind(
        "warning", shortcut("camera"), "Take pictures of every class with every camera."
    ),
    "shortcut_resolution": Kind("warning", shortcut("resolution"), SAVE_ALIKE),
    "shortcut_aspect": Kind("warning", shortcut("aspect ratio"), SAVE_ALIKE),
    "shifted_splits": Kind(
        "warning",
        shortcuts.shifted_splits,
        "Publish splits that are drawn from the same pictures, or let split draw them.",
    ),
    "blank": Kind("warning", oddities.blank, "Drop them in data/corrections.csv."),
    "dark": Kind("warning", oddities.dark, "Take them anew, or drop them."),
    "bright": Kind("warning", oddities.bright, "Take them anew, or drop them."),
    "low_contrast": Kind("warning", oddities.low_contrast, "Take them anew, or drop them."),
    "blurred": Kind("warning", oddities.blurred, "Take them anew, or drop them."),
    "odd_size": Kind("warning", oddities.odd_size, "Look for thumbnails and icons among them."),
    "odd_shape": Kind(
        "warning", oddities.odd_shape, "See what data.fit leaves of them: crop, pad or stretch."
    ),
    "new_channels": Kind("warning", expected(expectations.new_channels), SCHEMA),
    "new_formats": Kind("warning", expected(expectations.new_formats), SCHEMA),
    "new_sizes": Kind("warning", expected(expectations.new_sizes), SCHEMA),
    "new_brightness": Kind("warning", expected(expectations.new_brightness), SCHEMA),
    "mixed_colour": Kind(
        "note", oddities.mixed_colour, "Make sure that colour does not tell the class."
    ),
    "shortcut_border": Kind(
        "note", shortcut("border colour"), "If the background tells it, vary the background."
    ),
    "scarce_classes": Kind(
        "note", classes.scarce_classes, "More pictures of these classes would help most."
    ),
    "exact_duplicates": Kind(
        "note", copies.exact_duplicates, "Nothing to do: split holds them together."
    ),
    "no_schema": Kind(
        "note",
        expectations.no_schema,
        NO_SCHEMA,
    ),
}


def look(seen: Seen) -> list[Finding]:
    """What is wrong, the worst first."""
    found = []
    for name, kind in FINDINGS.items():
        if one := kind.look(seen):
            groups = _first(one.groups)
            severity = "note" if one.harmless else kind.severity
            found.append(Finding(name, severity, one.text, one.number, groups, kind.cure))
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _first(groups: Any) -> tuple[Group, ...]:
    """The first groups, of at most NAMED pictures together."""
    kept: list[Group] = []
    for group in groups:
        room = NAMED - sum(map(len, kept))
        if room < min(len(group), 2):
            break
        kept.append(tuple(group[:room]))
    return tuple(kept)
