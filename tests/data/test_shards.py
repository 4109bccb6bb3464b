"""Rows by key: each key has its own row, whoever adds it how often."""

import fcntl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

from imagetrail.data import decoding, shards, store
from imagetrail.data.decoding import Target, Unreadable
from imagetrail.data.pictures import Examined, Pictures
from imagetrail.data.shards import KEY, Shards


def key(number: int) -> bytes:
    return number.to_bytes(KEY, "little")  # as of hashes, the first bytes differ


def test_a_key_added_twice_leaves_the_next_ones_row_alone(tmp_path: Path) -> None:
    rows = Shards(tmp_path)
    for number, row in ((1, b"a"), (1, b"a"), (2, b"b"), (3, b"c")):
        rows.add(key(number), row)
    expected = [b"a", b"b", b"c"]
    assert [rows.get(key(number)) for number in (1, 2, 3)] == expected
    assert [Shards(tmp_path).get(key(number)) for number in (1, 2, 3)] == expected


def test_of_rows_with_one_key_the_newest_counts(tmp_path: Path) -> None:
    rows = Shards(tmp_path)
    for row in (b"old", b"new"):
        rows.add(key(1), row)
    assert rows.get(key(1)) == Shards(tmp_path).get(key(1)) == b"new"


def test_threads_that_add_copies_find_each_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MERGED", 8)  # slots are taken again and again
    rows, start = Shards(tmp_path), Barrier(2)

    def fill(_: int) -> list[bytes | None]:
        found = []
        for number in range(200):
            start.wait()
            rows.add(key(number), b"%d" % number)
            found.append(rows.get(key(number)))
        return found

    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(fill, range(2)))
    expected = [b"%d" % number for number in range(200)]
    assert seen == [expected, expected]
    assert [Shards(tmp_path).get(key(number)) for number in range(200)] == expected


def test_who_may_not_tidy_keeps_others_from_it_as_before(tmp_path: Path) -> None:
    one, other = Shards(tmp_path), Shards(tmp_path)
    one.tidy()
    other.held.close()
    with (tmp_path / "lock").open("a") as third, pytest.raises(BlockingIOError):
        fcntl.flock(third, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_copies_side_by_side_have_their_own_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "SETTLED", 0.0)
    paths = [tmp_path / f"{number:03}.png" for number in range(240)]
    for number, path in enumerate(paths):  # four copies of each
        Image.new("L", (9, 9), number // 4).save(path)

    def read(i: int, target: Target) -> Examined:
        return decoding.read(paths[i], target)

    some = len(paths)
    names = tuple(map(str, paths))
    plain = Pictures(
        ("a", "b"), np.zeros(some, np.int64), ("",) * some, names, read, content=lambda i: paths[i]
    )
    for _ in range(2):  # as they are added, and as they lie there
        kept = store.kept(plain, Target((8, 8, 1)))
        found = list(kept.examined(range(some), Target((8, 8, 1))))
        greys = [-1 if isinstance(one, Unreadable) else int(one[0].max()) for one in found]
        assert greys == [number // 4 for number in range(some)]
