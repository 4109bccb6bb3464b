"""Which side a picture stands on: for what it is, and the same next week with more of them."""

from collections.abc import Callable

import numpy as np
import pytest

from imagetrail.base.rng import generator
from imagetrail.data.pictures import Pictures, in_memory
from imagetrail.stages.split import units
from imagetrail.stages.split.coverage import PARTS, TEST, TRAIN, VALID
from imagetrail.stages.split.division import NONE, divide
from imagetrail.stages.split.params import Split
from imagetrail.stages.split.units import Numbers

SPLIT = Split(valid=0.1, test=0.2)


def parts(
    labels: list[int] | Numbers,
    *,
    fingerprints: list[str] | None = None,
    near: list[int | None] | None = None,
    groups: list[str] | None = None,
    splits: list[str] | None = None,
    split: Split = SPLIT,
    seed: int = 0,
) -> Numbers:
    """The part of each picture; all differ unless told otherwise."""
    count = len(labels)
    names = fingerprints or [f"{i:024}" for i in range(count)]
    found = units.find(names, near or [None] * count, groups or [""] * count)
    return divide(made(np.array(labels), splits or [""] * count), found, split, seed).parts


def made(labels: Numbers, splits: list[str]) -> Pictures:
    classes = [str(label) for label in range(labels.max() + 1)]
    names = [f"{i}.png" for i in range(len(labels))]
    return in_memory(classes, np.zeros((len(labels), 1, 1), np.uint8), labels, splits, names)


def counts(found: Numbers) -> list[int]:
    return np.bincount(found[found >= 0], minlength=3).tolist()  # type: ignore[no-any-return]


def test_shares_are_as_asked_for_in_all_and_in_each_class() -> None:
    labels = np.arange(20_000) % 10
    found = parts(labels)
    assert np.allclose(np.array(counts(found)) / 20_000, [0.72, 0.08, 0.2], atol=0.01)
    for label in range(10):
        shares = np.array(counts(found[labels == label])) / 2000
        assert np.allclose(shares, [0.72, 0.08, 0.2], atol=0.04)


def test_another_seed_is_another_division_and_the_order_of_pictures_is_nothing() -> None:
    labels, names = np.arange(500) % 3, [f"{i:024}" for i in range(500)]
    found = parts(labels)
    assert (parts(labels, seed=1) != found).mean() > 0.3
    order = np.random.default_rng(0).permutation(500)
    assert np.array_equal(
        parts(labels[order], fingerprints=[names[i] for i in order]), found[order]
    )


@pytest.mark.parametrize("count", [30, 100, 1000, 10_000])
def test_with_a_tenth_more_pictures_five_times_at_most_1_percent_change_sides(count: int) -> None:
    moved, back = [], 0
    for seed in range(max(1, 2000 // count)):
        labels = generator(seed, "labels").integers(0, max(2, count // 100), 2 * count)
        before, size = parts(labels[:count], seed=seed), count
        for _ in range(5):
            size += size // 10
            after = parts(labels[:size], seed=seed)
            moved.append((after[: len(before)] != before).mean())
            back += int(((before == TEST) & (after[: len(before)] == TRAIN)).sum())
            before = after
    assert np.mean(moved) <= 0.01 and back == 0


def test_a_class_that_gets_no_picture_keeps_every_one_where_it_was() -> None:
    """Also a small one, whose ranks decide, in a set that triples."""
    labels = np.repeat([0, 1, 2, 3], [400, 6, 40, 12])
    more = np.concatenate([labels, np.zeros(900, np.int64)])
    for seed in range(100):
        before, after = parts(labels, seed=seed), parts(more, seed=seed)[: len(labels)]
        assert np.array_equal(after[400:], before[400:])


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1])],
)
def test_a_class_of_few_has_them_in_train_then_in_test_then_in_valid(
    size: int, expected: list[int]
) -> None:
    for seed in range(50):
        found = parts(np.repeat([0, 1], [300, size]), seed=seed)
        assert counts(found[300:]) == expected


@pytest.mark.parametrize("size", [4, 5, 10])
def test_a_class_of_some_is_in_every_part(size: int) -> None:
    for seed in range(100):
        assert min(counts(parts(np.repeat([0, 1], [300, size]), seed=seed)[300:])) >= 1


def test_of_few_groups_a_part_has_at_least_half_of_its_share_and_no_more_than_twice() -> None:
    groups = [f"patient {i // 50}" for i in range(1000)]
    for seed in range(200):
        found = parts(np.arange(1000) % 2, groups=groups, seed=seed)
        assert 2 <= counts(found)[TEST] / 50 <= 10 and 1 <= counts(found)[VALID] / 50 <= 5


def of_units(found: Numbers, keys: list[str]) -> list[set[int]]:
    return [{int(found[i]) for i, other in enumerate(keys) if other == key} for key in set(keys)]


def test_a_group_stands_on_one_side_and_a_class_rare_in_each_is_in_every_part() -> None:
    groups = [f"patient {i // 40}" for i in range(1600)]
    labels = np.where(np.arange(1600) % 40 < 38, 0, 1)  # each patient has two of class 1
    labels[240:] = 0  # and only the first six have any
    for seed in range(20):
        found = parts(labels, groups=groups, seed=seed)
        assert all(len(sides) == 1 for sides in of_units(found, groups))
        assert min(counts(found[labels == 1])) >= 2


def test_a_new_copy_moves_nothing_and_what_joins_two_units_moves_no_other() -> None:
    names = [f"{i:024}" for i in range(200)]
    labels = [0] * 200
    found = parts(labels)
    copied = parts([*labels, 0], fingerprints=[*names, names[9]])
    assert np.array_equal(copied[:200], found) and copied[200] == found[9]
    test, train = int(np.flatnonzero(found == TEST)[3]), int(np.flatnonzero(found == TRAIN)[3])
    near: list[int | None] = [None] * 201
    near[test] = near[train] = near[200] = 1
    joined = parts([*labels, 0], near=near)
    assert len({int(joined[i]) for i in (test, train, 200)}) == 1
    others = [i for i in range(200) if i not in (test, train)]
    assert np.array_equal(joined[others], found[others])


@pytest.mark.parametrize("each", [1, 2, 20])
def test_units_of_all_sizes_have_their_shares(each: int) -> None:
    number = np.arange(1000 * each) % 1000
    found = parts(number % 2, near=number.tolist())
    for part, share in ((TEST, SPLIT.test), (VALID, (1 - SPLIT.test) * SPLIT.valid)):
        assert abs((found == part).mean() - share) < 0.04


# ---- published splits ----


@pytest.mark.parametrize("published", [("test",), ("valid",), ("valid", "test")])
def test_published_parts_stay_and_the_others_come_from_train(published: tuple[str, ...]) -> None:
    splits = [["train", "train", *published][i % (2 + len(published))] for i in range(600)]
    found = parts([0] * 600, splits=splits)
    for part, name in enumerate(PARTS[1:], 1):
        stays = {i for i, split in enumerate(splits) if split == name}
        got = set(np.flatnonzero(found == part).tolist())
        assert got == stays if name in published else got and not got & stays
        pool = splits.count("train")
        if name not in published:
            assert abs(len(got) / pool - getattr(SPLIT, name)) < 0.06


Tie = Callable[[list[int]], dict[str, list[str] | list[int | None]]]


@pytest.mark.parametrize(
    "tie",
    [
        lambda two: {"fingerprints": [f"{min(two) if i in two else i:024}" for i in range(60)]},
        lambda two: {"near": [1 if i in two else None for i in range(60)]},
        lambda two: {"groups": ["p" if i in two else "" for i in range(60)]},
    ],
    ids=["equal", "near", "of one group"],
)
def test_train_and_valid_lose_what_a_later_published_part_has(tie: Tie) -> None:
    splits = [["train", "valid", "test"][i // 20] for i in range(60)]
    for two, lost in (([3, 43], 3), ([23, 43], 23), ([3, 23], 3), ([3, 23, 43], 3)):
        found = parts([0] * 60, splits=splits, **tie(two))  # type: ignore[arg-type]
        assert found[lost] == NONE and found[max(two)] == PARTS.index(splits[max(two)])
        assert (found == NONE).sum() == len(two) - 1


def test_per_class_keeps_so_many_training_pictures_of_each_class_and_the_same_with_more() -> None:
    few = Split(valid=0.1, test=0.2, per_class=30)
    labels = np.arange(300) % 2
    found = parts(labels, split=few)
    assert counts(found[labels == 0])[TRAIN] == counts(found[labels == 1])[TRAIN] == 30
    whole = parts(labels)
    assert np.array_equal(found[found >= 0], whole[found >= 0])
