"""Names of classes and splits, by one rule wherever they come from."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from imagetrail.base.errors import UserError
from imagetrail.base.words import printable
from imagetrail.data.listing import flaw

SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "validation", "validate", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "eval", "evaluation"), "test"),
}
LONGEST = 200  # characters in the name of a class


def split_of(name: str) -> str:
    """train, valid or test, if it is a name for one, in any case; else empty."""
    return SPLITS.get(name.strip().lower(), "")


def in_order(names: Iterable[str]) -> list[str]:
    """Classes in the order of their numbers: whole numbers by value if all are, else by letters."""
    found = set(names)
    if all(name.isascii() and name.isdigit() for name in found):
        return sorted(found, key=lambda name: (int(name), name))
    return sorted(found)


def check_classes(classes: Mapping[str, str], shown: str) -> None:
    """Raises UserError for names that cannot be shown, or be told from one another by eye.

    classes: where each name stands first, as " (labels.csv, line 7)", or nothing.
    """
    alike: dict[str, str] = {}
    for name, where in classes.items():
        if fault := flaw(name):
            raise UserError(f"{shown}: class '{printable(name)}'{where} {fault}; rename it")
        if len(name) > LONGEST:
            fault = f"has {len(name)} characters; at most {LONGEST} can be shown"
            raise UserError(f"{shown}: class '{name[:40]}…'{where} {fault}")
        other = alike.setdefault(_seen(name), name)
        if other != name:
            both = f"{other!r}{classes[other]} and {name!r}{where}"
            fault = f"differ by {_difference(other, name)} only; give both one name"
            raise UserError(f"{shown}: classes {both} {fault}")


def _seen(name: str) -> str:
    """Equal for names that differ by case, spaces or Unicode's normal forms only."""
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())


def _difference(one: str, other: str) -> str:
    if " ".join(one.split()) == " ".join(other.split()):
        return "spaces"
    forms = [unicodedata.normalize("NFC", name) for name in (one, other)]
    return "the Unicode form of a letter" if forms[0] == forms[1] else "case or spaces"


def check_counts(
    kinds: Sequence[str], splits: Sequence[str], classes: Sequence[str], shown: str
) -> tuple[str, ...]:
    """What a user should know of the published splits, a line each; kinds: the class names.

    Raises UserError where there is no classifier to be trained.
    """
    if len(classes) < 2:
        wanted = "a classifier needs at least two"
        raise UserError(f"{shown}: only one class, {''.join(classes)!r}; {wanted}")
    count = Counter(zip(splits, kinds, strict=True))
    there = {split for split, _ in count}
    if there == {""}:
        return ()
    if "train" not in there:
        raise UserError(
            f"{shown}: no picture is in train, all are in {words(sorted(there))}; "
            "what is to be learned from goes into train"
        )
    unlearned = [name for name in classes if not count["train", name]]
    if unlearned:
        raise UserError(
            f"{shown}: class {words(unlearned)} has no picture in train, only in "
            f"{words(sorted(s for s in there if count[s, unlearned[0]]))}; "
            "add some to train, or leave the class out"
        )
    return tuple(_notes(count, there, classes))


def _notes(
    count: Mapping[tuple[str, str], int], there: set[str], classes: Sequence[str]
) -> Iterable[str]:
    kept = [split for split in ("train", "valid", "test") if split in there]
    carved = [split for split in ("valid", "test") if split not in there]
    carving = f"; {words(carved)} will be carved from train" if carved else ""
    yield f"{words(kept)} as published{carving}"
    for split in kept:
        absent = [name for name in classes if not count[split, name]]
        if absent and split != "train":
            yield f"{split} has no picture of class {words(absent)}"


def words(names: Sequence[str], most: int = 5) -> str:
    """Names as words, the first few of many."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
