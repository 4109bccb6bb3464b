"""What belongs together is in one fold, and every class is in all of them."""

import numpy as np
import pyarrow as pa

from imagetrail.training import folds


def table(
    labels: list[int],
    groups: list[str | None] | None = None,
    prints: list[str | None] | None = None,
) -> pa.Table:
    columns = {
        "id": [str(i) for i in range(len(labels))],
        "label": labels,
        "source": [str(i) for i in range(len(labels))],
        "fingerprint": prints or [str(i) for i in range(len(labels))],
    }
    return pa.table(columns | ({"group": groups} if groups else {}))


def test_every_class_is_spread_evenly() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 403)
    fold = folds.assign(table(labels.tolist()), folds=5, seed=0)
    for label in range(4):
        counts = np.bincount(fold[labels == label], minlength=5)
        assert np.ptp(counts) <= 1
    assert np.ptp(np.bincount(fold)) <= 1


def test_pictures_of_a_group_are_in_one_fold() -> None:
    rng = np.random.default_rng(1)
    groups = [f"patient {number}" for number in rng.integers(0, 40, 300)]
    fold = folds.assign(table(rng.integers(0, 3, 300).tolist(), groups), folds=5, seed=0)
    for group in set(groups):
        assert len({fold[i] for i, name in enumerate(groups) if name == group}) == 1
    assert len(set(fold)) == 5


def test_equal_pictures_join_their_groups() -> None:
    """0 and 1 are of a group, 1 equals 2, and 2 and 3 are of another group; the rest is alone."""
    groups = ["a", "a", "b", "b", *[None] * 20]
    prints = ["p", "q", "q", None, *[str(i) for i in range(20)]]
    for seed in range(20):
        fold = folds.assign(table([0, 1, 0, 1] + [0, 1] * 10, groups, prints), folds=5, seed=seed)
        assert len(set(fold[:4])) == 1
        assert len(set(fold[4:])) > 1


def test_nulls_do_not_belong_together() -> None:
    none: list[str | None] = [None] * 10
    assert len(set(folds.assign(table([0] * 10, none, none), folds=5, seed=0))) == 5


def test_the_seed_alone_decides() -> None:
    some = table([0, 1] * 50)
    drawn = [folds.assign(some, folds=5, seed=seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_class_with_fewer_groups_than_folds_is_not_in_all_of_them() -> None:
    labels = np.array([0] * 50 + [1] * 4 + [2] * 5)
    fold = folds.assign(table(labels.tolist()), folds=5, seed=0)
    assert folds.spread(labels, fold, 4).tolist() == [True, False, True, False]


def test_splits_are_put_together_and_named() -> None:
    pool = folds.together({"train": table([0, 1], ["a", None]), "test": table([1])})
    assert pool["split"].to_pylist() == ["train", "train", "test"]
    assert pool["group"].to_pylist() == ["a", None, None]
