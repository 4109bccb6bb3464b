"""Findings about pictures that are there more than once, and about groups on several splits."""

from collections.abc import Callable, Iterable, Sequence

from imagetrail.base.words import count_of
from imagetrail.stages.inspect.seen import Found, Group, Seen, listed


def exact_duplicates(seen: Seen) -> Found | None:
    return _copies(seen.exact_groups, "equal in every pixel")


def near_duplicates(seen: Seen) -> Found | None:
    what = "the same but for encoding, cutting, size, brightness or contrast"
    return _copies([_distinct(seen, group) for group in seen.near_groups], what)


def _copies(groups: Sequence[Group], what: str) -> Found | None:
    extra = sum(len(group) - 1 for group in groups)
    if not extra:
        return None
    text = f"{count_of(extra, 'picture')} too many: {count_of(len(groups), 'group')} are {what}"
    return Found(text, extra, groups)


def exact_across_splits(seen: Seen) -> Found | None:
    return _across(seen, seen.exact_groups, "equal in every pixel")


def near_across_splits(seen: Seen) -> Found | None:
    groups = [_distinct(seen, group) for group in seen.near_groups]
    return _across(seen, groups, "near duplicates")


def _across(seen: Seen, groups: Iterable[Group], what: str) -> Found | None:
    """Groups on several published splits, a picture of each shown."""
    splits = seen.pictures.splits
    torn = [_one_each(group, lambda i: splits[i]) for group in groups]
    torn = [group for group in torn if len(group) > 1]
    held = sum(splits[i] == "test" for group in torn for i in group)
    if not torn:
        return None
    text = f"{count_of(len(torn), 'group')} of {what} on several published splits"
    if held:
        text += f": {held:,} of the {splits.count('test'):,} test pictures have a copy elsewhere"
    return Found(text, len(torn), torn)


def exact_label_clash(seen: Seen) -> Found | None:
    return _clash(seen, seen.exact_groups, "equal pictures")


def near_label_clash(seen: Seen) -> Found | None:
    return _clash(seen, seen.near_groups, "near duplicates")


def _clash(seen: Seen, groups: Iterable[Group], what: str) -> Found | None:
    clashing = [_one_each(group, seen.word) for group in groups]
    clashing = [group for group in clashing if len(group) > 1]
    if not clashing:
        return None
    words = sorted({" / ".join(sorted({seen.word(i) for i in group})) for group in clashing})
    text = f"{count_of(len(clashing), 'group')} of {what} with different labels: {listed(words)}"
    return Found(text, len(clashing), clashing)


def group_across_splits(seen: Seen) -> Found | None:
    """A patient, part or scene that has pictures on several published splits."""
    pictures = seen.pictures
    members: dict[str, list[int]] = {}
    for i in seen.readable.tolist():
        if pictures.groups and pictures.groups[i]:
            members.setdefault(pictures.groups[i], []).append(i)
    shown = {name: _one_each(mine, lambda i: pictures.splits[i]) for name, mine in members.items()}
    torn = {name: group for name, group in shown.items() if len(group) > 1}
    if not torn:
        return None
    text = f"{count_of(len(torn), 'group')} with pictures on several published splits"
    return Found(f"{text}: {listed(list(torn))}", len(torn), list(torn.values()))


def _one_each(group: Sequence[int], kind: Callable[[int], str]) -> Group:
    """The first picture of each kind."""
    first: dict[str, int] = {}
    for i in group:
        first.setdefault(kind(i), i)
    return tuple(first.values())


def _distinct(seen: Seen, group: Group) -> Group:
    """Without exact copies on the same split, which are another finding."""
    prints, splits = seen.found.fingerprints, seen.pictures.splits
    first: dict[tuple[str | None, str], int] = {}
    for i in group:
        first.setdefault((prints[i], splits[i]), i)
    return tuple(first.values())
