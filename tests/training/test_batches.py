from collections.abc import Callable
from itertools import pairwise
from typing import Any
from weakref import ref

import numpy as np
import pyarrow as pa
import pytest
import torch

from imagetrail.base.errors import UserError
from imagetrail.base.samples import Images, Samples
from imagetrail.training import order as reading
from imagetrail.training.batches import Mixture

Make = Callable[..., Samples]
WINDOW, BLOCK = 32, 4  # in images

PATHS = ["in memory", "streamed"]
MIXTURES = ["plain", "limited", "mixed", "mixed and limited", "repeated", "mixed and thrice"]


def numbered(make: Make, name: str, count: int, first: int = 0) -> Samples:
    """Images that carry their own number as their grey level, with it the class."""
    numbers = np.arange(first, first + count, dtype=np.uint8)
    return make(
        name, np.tile(numbers[:, None, None, None], (1, 2, 2, 1)), numbers % 5, tuple("abcde")
    )


def drawn(
    mixture: Mixture, epoch: int = 1, *, batch_size: int = 8, seed: int = 0, **where: int
) -> list[list[int]]:
    """The numbers of the images in each batch."""
    numbers = []
    for images, labels, *_ in mixture.epoch(epoch, batch_size=batch_size, seed=seed, **where):
        assert images.dtype == torch.uint8 and labels.dtype == torch.int64
        assert torch.equal(images[:, 0, 0, 0] % 5, labels), "an image has another's label"
        assert images.shape[1:] == (2, 2, 1) and torch.equal(
            images, images[:, :1, :1].expand_as(images)
        )
        numbers.append(images[:, 0, 0, 0].tolist())
    return numbers


def flat(numbers: list[list[int]]) -> list[int]:
    return [number for batch in numbers for number in batch]


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Sets of more than 32 images are streamed, in blocks of 4; or none is, as is usual."""
    if getattr(request, "param", "streamed") == "streamed":
        monkeypatch.setattr(reading, "WINDOW", WINDOW * 4 + 3)  # bytes: no whole number of images
        monkeypatch.setattr(reading, "BLOCK", BLOCK * 4)


@pytest.fixture
def real(make_samples: Make, path: None) -> Samples:  # noqa: ARG001
    """122 images: neither whole blocks, nor whole windows, nor whole batches."""
    return numbered(make_samples, "real", 122)


@pytest.fixture
def mixture(make_samples: Make, real: Samples, request: pytest.FixtureRequest) -> Mixture:
    """Mixtures of sets beyond a window, with one that fits into it."""
    others = (
        (numbered(make_samples, "large", 60, 130), 0.35),
        (numbered(make_samples, "small", 20, 200), 0.1),
    )
    return {
        "plain": Mixture(real),
        "limited": Mixture(real, limit=51),
        "mixed": Mixture(real, others),
        "mixed and limited": Mixture(real, others, limit=51),
        "repeated": Mixture(real, limit=33, repeat_to=60),
        "mixed and thrice": Mixture(real, others, repeats=3),
    }[request.param]


both_paths = pytest.mark.parametrize("path", PATHS, indirect=True)
every_mixture = pytest.mark.parametrize("mixture", MIXTURES, indirect=True)


# ---- streaming ----


def test_samples_on_disk_are_streamed_here(real: Samples) -> None:
    assert isinstance(real.images, np.memmap) and real.images.nbytes > reading.WINDOW


@pytest.mark.parametrize("batch_size", [8, 50, 122])
def test_a_streamed_epoch_shows_every_image_once_with_its_label(
    real: Samples, batch_size: int
) -> None:
    assert sorted(flat(drawn(Mixture(real), batch_size=batch_size))) == list(range(122))


def test_the_order_of_a_stream_is_decided_by_seed_and_epoch(real: Samples) -> None:
    orders = [drawn(Mixture(real), epoch, seed=seed) for epoch in (1, 2) for seed in (1, 2)]
    assert orders == [drawn(Mixture(real), epoch, seed=seed) for epoch in (1, 2) for seed in (1, 2)]
    assert len({tuple(flat(order)) for order in orders}) == 4


def test_the_order_of_a_stream_does_not_depend_on_the_batch_size(real: Samples) -> None:
    assert flat(drawn(Mixture(real), batch_size=2)) == flat(drawn(Mixture(real), batch_size=61))


def test_a_stream_mixes_images_beyond_their_block(real: Samples) -> None:
    epochs = [np.array(flat(drawn(Mixture(real), epoch))) for epoch in range(1, 9)]
    together = np.mean([np.abs(np.diff(order)) < BLOCK for order in epochs])
    assert together < 0.2, "neighbours on disk come apart"
    within = [len(set(order[:8] // BLOCK)) for order in epochs]
    assert min(within) >= 4, "a batch is of many blocks"


def test_a_window_of_a_stream_is_of_blocks_from_all_over_the_set(real: Samples) -> None:
    windows = [np.array(flat(drawn(Mixture(real), epoch)))[:WINDOW] for epoch in range(1, 9)]
    assert all(np.ptp(window) > 60 for window in windows)
    assert {number for window in windows for number in window.tolist()} >= {0, 121}
    assert all(len(set(window // BLOCK)) < 20 for window in windows), "yet it is read in blocks"


@pytest.mark.parametrize(("limit", "expected"), [(None, (68, 42, 12)), (51, (29, 17, 5))])
def test_shares_of_a_streamed_mixture_are_exact(
    make_samples: Make, real: Samples, limit: int | None, expected: tuple[int, ...]
) -> None:
    others = (
        (numbered(make_samples, "large", 60, 130), 0.35),
        (numbered(make_samples, "small", 20, 200), 0.1),
    )
    for epoch in (1, 2):
        numbers = np.array(flat(drawn(Mixture(real, others, limit), epoch)))
        assert tuple(np.histogram(numbers, [0, 130, 200, 256])[0]) == expected
        assert len(set(numbers.tolist())) == len(numbers), "no image twice while there are enough"


def test_a_streamed_stock_smaller_than_its_share_repeats_evenly(
    make_samples: Make, real: Samples
) -> None:
    few = numbered(make_samples, "few", 40, 130)
    counts = np.bincount(flat(drawn(Mixture(real, ((few, 1.0),)))))[130:]
    assert sorted(counts.tolist()) == [3] * 38 + [4] * 2


def test_a_limit_picks_one_subset_of_a_stream_for_all_epochs(real: Samples) -> None:
    subsets = [set(flat(drawn(Mixture(real, limit=51), epoch, batch_size=51))) for epoch in (1, 2)]
    assert subsets[0] == subsets[1] and len(subsets[0]) == 51
    assert flat(drawn(Mixture(real, limit=51), 1)) != flat(drawn(Mixture(real, limit=51), 2))


@pytest.mark.parametrize("limit", [None, 51])
def test_images_held_out_are_in_no_epoch_of_a_stream_and_all_others_are(
    make_samples: Make, real: Samples, limit: int | None
) -> None:
    other = numbered(make_samples, "other", 40, first=122)
    out = np.arange(3, 122, 5), np.arange(0, 40, 4)  # of each source, by position
    mixture = Mixture(real, ((other, 0.3),), limit=limit, held_out=out)
    seen = {number for epoch in range(1, 30) for number in flat(drawn(mixture, epoch))}
    kept = set(range(162)) - set(out[0]) - set(out[1] + 122)
    assert seen <= kept
    assert len(mixture) == (limit or 98)
    assert seen >= {number for number in kept if number >= 122}
    assert limit or seen == kept


def test_without_a_limit_children_of_images_elsewhere_stay(
    make_samples: Make, real: Samples
) -> None:
    """Where train is not the largest part, an augmented image's parent is in another."""
    other = numbered(make_samples, "other", 40, first=122)
    parents = pa.array(["elsewhere"] * 40, pa.string())
    place = other.index.column_names.index("parent")
    children = Samples(
        other.images, other.index.set_column(place, "parent", parents), other.classes
    )
    out = np.arange(10), np.arange(0, 40, 4)
    seen = flat(drawn(Mixture(real, ((children, 0.3),), held_out=out)))
    assert {number for number in seen if number >= 122} == set(range(122, 162)) - set(out[1] + 122)


@both_paths
def test_an_image_comes_so_often_in_a_row_as_repeats_say_and_all_do_in_equal_turns(
    real: Samples,
) -> None:
    mixture = Mixture(real, limit=48, repeat_to=100, repeats=4)
    rows = np.array(flat(drawn(mixture, batch_size=24))).reshape(-1, 4)
    assert (rows == rows[:, :1]).all() and rows.size == len(mixture) == 144
    counts = np.unique(rows[:, 0], return_counts=True)[1]
    assert counts.sum() == 36 and counts.max() == 1, "none again while there are others"
    assert drawn(mixture, 1) != drawn(mixture, 2)
    seen = {number for epoch in range(30) for number in flat(drawn(mixture, epoch))}
    assert len(seen) == 48, "other epochs have others"


@both_paths
def test_repeats_keep_the_length_of_an_epoch_and_the_shares_of_a_mixture(
    make_samples: Make, real: Samples
) -> None:
    others = ((numbered(make_samples, "other", 60, 130), 0.35),)
    for repeats in (0, 1, 2, 5):
        numbers = np.array(flat(drawn(Mixture(real, others, repeats=repeats), batch_size=61)))
        assert len(numbers) == 122 == len(Mixture(real, others, repeats=repeats))
        assert abs((numbers >= 130).mean() - 0.35) < 0.05


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The numbers of the images in each window that is read.

    Fails if one is read while another is still held.
    """
    windows: list[list[int]] = []
    held: list[ref[Images]] = []
    gather = Samples.gather

    def watched(samples: Samples, numbers: Any) -> Images:
        assert all(window() is None for window in held), "two windows at a time"
        images = gather(samples, numbers)
        windows.append(numbers.tolist())
        held.append(ref(images))
        return images

    monkeypatch.setattr(Samples, "gather", watched)
    return windows


@pytest.mark.parametrize("batch_size", [8, 50])
def test_a_stream_holds_one_window_and_reads_each_once_from_front_to_back(
    real: Samples, gathered: list[list[int]], batch_size: int
) -> None:
    order = flat(drawn(Mixture(real), batch_size=batch_size))
    assert [len(window) for window in gathered] == [WINDOW, WINDOW, WINDOW, 122 - 3 * WINDOW]
    assert gathered == [sorted(order[start : start + WINDOW]) for start in range(0, 122, WINDOW)]


def test_a_stream_is_read_no_further_than_it_is_used(
    real: Samples, gathered: list[list[int]]
) -> None:
    stream = Mixture(real).epoch(1, batch_size=8, seed=0)
    assert gathered == []
    next(stream)
    assert len(gathered) == 1


def test_skipped_windows_are_not_read(real: Samples, gathered: list[list[int]]) -> None:
    drawn(Mixture(real), skip=12)
    assert [len(window) for window in gathered] == [122 - 3 * WINDOW]


def test_each_process_reads_its_own_share_only(real: Samples, gathered: list[list[int]]) -> None:
    order = flat(drawn(Mixture(real), batch_size=61, rank=1, ranks=3))
    assert len(order) == 40 and sorted(flat(gathered)) == sorted(order)


@pytest.mark.usefixtures("path")
def test_what_fits_into_a_window_is_not_gathered(
    make_samples: Make, gathered: list[list[int]]
) -> None:
    drawn(Mixture(numbered(make_samples, "small", WINDOW)))
    assert gathered == []


# ---- skip ----


@both_paths
@every_mixture
def test_skipping_leaves_exactly_the_batches_after_those(mixture: Mixture) -> None:
    whole = drawn(mixture, 3, seed=7)
    assert len(whole) >= 6
    for skip in (0, 1, 4, 5, len(whole) - 1, len(whole)):
        assert drawn(mixture, 3, seed=7, skip=skip) == whole[skip:], skip


@both_paths
@pytest.mark.parametrize("mixture", ["mixed"], indirect=True)
def test_skipping_in_one_of_several_processes_leaves_its_batches_after_those(
    mixture: Mixture,
) -> None:
    whole = drawn(mixture, rank=1, ranks=3)
    assert all(
        drawn(mixture, rank=1, ranks=3, skip=skip) == whole[skip:] for skip in range(len(whole) + 1)
    )


# ---- several processes ----


def of_each(mixture: Mixture, ranks: int, **order: int) -> list[list[list[int]]]:
    return [drawn(mixture, rank=rank, ranks=ranks, **order) for rank in range(ranks)]


@both_paths
@every_mixture
@pytest.mark.parametrize("ranks", [2, 3])
def test_processes_share_each_batch_of_a_single_one_in_its_order(
    mixture: Mixture, ranks: int
) -> None:
    whole, parts = drawn(mixture, 2), of_each(mixture, ranks, epoch=2)
    for rank, part in enumerate(parts):
        assert part == [batch[rank::ranks] for batch in whole[: len(part)]]
    assert len(parts[0]) >= len(whole) - 1 and {len(part) for part in parts} == {len(parts[0])}


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_last_batch_without_two_images_for_each_process_is_left_out_by_all(
    make_samples: Make, ranks: int
) -> None:
    for last in range(1, 8):
        parts = of_each(Mixture(numbered(make_samples, f"of{last}", 16 + last)), ranks)
        assert [len(part) for part in parts] == [2 + (last >= 2 * ranks)] * ranks, last
        assert all(len(batch) >= 2 for part in parts for batch in part)


def test_the_only_image_is_a_batch(make_samples: Make) -> None:
    assert drawn(Mixture(numbered(make_samples, "one", 1, 3))) == [[3]]


# ---- classes that are drawn more alike ----


@pytest.fixture
def lopsided(make_samples: Make, path: None) -> Samples:  # noqa: ARG001
    """Images that carry their own number, of classes of 90, 24 and 8."""
    images = np.tile(np.arange(122, dtype=np.uint8)[:, None, None, None], (1, 2, 2, 1))
    return make_samples("lopsided", images, np.repeat(np.arange(3), [90, 24, 8]), tuple("abc"))


def numbers_of(mixture: Mixture, epoch: int = 1, **order: Any) -> list[int]:
    stream = mixture.epoch(epoch, **({"batch_size": 8, "seed": 0} | order))
    return [int(number) for images, *_ in stream for number in images[:, 0, 0, 0]]


@both_paths
@pytest.mark.parametrize("balance", [0.25, 0.5, 1.0])
def test_classes_are_drawn_by_their_frequency_to_the_power_of_what_balance_leaves(
    lopsided: Samples, balance: float
) -> None:
    train = lopsided
    wanted = np.array([90, 24, 8]) ** (1 - balance)
    expected = wanted * len(train) / wanted.sum()
    for epoch in range(1, 6):
        counts = np.bincount(train.labels[numbers_of(Mixture(train, balance=balance), epoch)])
        assert counts.sum() == len(train) and np.abs(counts - expected).max() < 1


@both_paths
def test_of_a_class_each_image_comes_before_any_comes_again_and_in_other_epochs_others(
    lopsided: Samples,
) -> None:
    train, epochs = lopsided, range(1, 21)
    drawn = [np.array(numbers_of(Mixture(train, balance=1.0), epoch)) for epoch in epochs]
    for label, (first, last) in enumerate([(0, 90), (90, 114), (114, 122)]):
        for some in drawn:
            times = np.bincount(some[train.labels[some] == label], minlength=last)[first:last]
            assert times.max() - times.min() <= 1
    assert {number for some in drawn for number in some.tolist()} == set(range(122))
    assert len({tuple(some) for some in drawn}) == 20


@both_paths
def test_a_balanced_epoch_is_resumed_and_shared_by_processes_exactly(
    lopsided: Samples,
) -> None:
    mixture = Mixture(lopsided, balance=0.7)
    whole = numbers_of(mixture, 3)
    assert whole == numbers_of(mixture, 3) and numbers_of(mixture, 3, skip=5) == whole[40:]
    parts = [numbers_of(mixture, 3, rank=rank, ranks=2) for rank in range(2)]
    batches = [whole[start : start + 8] for start in range(0, len(whole), 8)]
    for rank, part in enumerate(parts):
        shares = [number for batch in batches for number in batch[rank::2]]
        assert part == shares[: len(part)]


def test_images_held_out_and_limits_hold_where_classes_are_balanced(lopsided: Samples) -> None:
    out = np.arange(0, 122, 2)
    drawn = numbers_of(Mixture(lopsided, balance=1.0, held_out=(out,)))
    assert not set(drawn) & set(out.tolist())
    assert len(set(numbers_of(Mixture(lopsided, balance=1.0, limit=30)))) <= 30


def test_shares_are_those_of_what_is_drawn_by_weight(lopsided: Samples) -> None:
    train = lopsided
    assert Mixture(train).shares(0) == pytest.approx(np.array([90, 24, 8]) / 122)
    assert Mixture(train, balance=1.0).shares(0) == pytest.approx([1 / 3] * 3, abs=0.01)
    weights = pa.array(np.array([1.0, 2.0, 4.0])[train.labels])
    heavy = Samples(train.images, train.index.append_column("weight", weights), train.classes)
    assert Mixture(heavy).shares(0) == pytest.approx(np.array([90, 48, 32]) / 170)


def test_weights_go_with_their_images_and_are_1_in_the_mean(make_samples: Make) -> None:
    real, other = numbered(make_samples, "real", 60), numbered(make_samples, "other", 40, 130)
    raw = pa.array([None, *np.arange(1.0, 60.0)], pa.float64())
    weighed = Samples(real.images, real.index.append_column("weight", raw), real.classes)
    stream = Mixture(weighed, ((other, 0.3),)).epoch(1, batch_size=9, seed=0)
    pairs = [
        (int(number), float(weight))
        for images, _, weights, *_ in stream
        for number, weight in zip(images[:, 0, 0, 0], weights, strict=True)
    ]
    assert {weight for number, weight in pairs if number >= 130} == {1.0}
    mean = np.mean(np.arange(1.0, 60.0))
    found = dict(pairs)
    known = [number for number in found if 0 < number < 130]
    assert len(known) > 30 and found.get(0, 1.0) == 1.0, "it has none, and counts as the mean"
    assert all(found[number] == pytest.approx(number / mean) for number in known)


def test_labels_are_as_sure_as_their_images_say_and_sure_where_nothing_is_said(
    make_samples: Make,
) -> None:
    real, other = numbered(make_samples, "real", 60), numbered(make_samples, "other", 40, 130)
    raw = pa.array([None, *(np.arange(1.0, 60.0) / 60)], pa.float64())
    unsure = Samples(real.images, real.index.append_column("certainty", raw), real.classes)
    stream = Mixture(unsure, ((other, 0.3),)).epoch(1, batch_size=9, seed=0)
    found = {
        int(number): float(sure)
        for images, _, _, certainties, _ in stream
        for number, sure in zip(images[:, 0, 0, 0], certainties, strict=True)
    }
    assert all(
        sure == pytest.approx(number / 60 if 0 < number < 60 else 1.0)
        for number, sure in found.items()
    )
    assert len(found) > 40 and max(found) >= 130


# ---- mirror images ----


def sides(mixture: Mixture, epoch: int, **order: int) -> list[tuple[int, bool]]:
    """Of the images of an epoch, in turn: number, and whether it is mirrored."""
    batches = mixture.epoch(epoch, **({"batch_size": 8, "seed": 0} | order))
    return [
        (int(number), bool(mirrored))
        for batch in batches
        for number, mirrored in zip(batch.images[:, 0, 0, 0], batch.mirrored, strict=True)
    ]


@both_paths
def test_an_image_is_mirrored_in_every_other_epoch_and_half_of_them_are_in_each(
    make_samples: Make, real: Samples
) -> None:
    mixture = Mixture(real, ((numbered(make_samples, "other", 60, 130), 0.4),), limit=100)
    epochs = [sides(mixture, epoch, batch_size=50) for epoch in range(1, 5)]
    for one, after in pairwise(map(dict, epochs)):
        both = one.keys() & after.keys()
        assert len(both) > 20 and all(one[number] != after[number] for number in both)
    for some in epochs:
        assert 30 < sum(mirrored for _, mirrored in some) < 70
    assert dict(epochs[0]) != dict(sides(mixture, 1, batch_size=50, seed=1))


@pytest.mark.parametrize("mixing", [{"repeat_to": 300}, {"repeats": 3}, {"balance": 1.0}], ids=str)
def test_an_image_that_comes_again_in_an_epoch_has_the_other_side(
    lopsided: Samples, mixing: dict[str, Any]
) -> None:
    seen: dict[int, list[bool]] = {}
    for number, mirrored in sides(Mixture(lopsided, **mixing), 1):
        seen.setdefault(number, []).append(mirrored)
    assert sum(len(some) > 2 for some in seen.values()) > 7
    assert all(one != after for some in seen.values() for one, after in pairwise(some))


@both_paths
def test_mirror_images_depend_neither_on_the_batch_size_nor_on_where_a_batch_is_read(
    real: Samples,
) -> None:
    mixture = Mixture(real, repeats=2)
    whole = sides(mixture, 2, batch_size=61)
    assert whole == sides(mixture, 2) and whole[61:] == sides(mixture, 2, batch_size=61, skip=1)
    parts = [sides(mixture, 2, batch_size=61, rank=rank, ranks=2) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(whole)


# ---- weights that are none ----


def test_training_images_that_all_weigh_nothing_are_one_line(make_samples: Make) -> None:
    real = numbered(make_samples, "real", 20)
    index = real.index.append_column("weight", pa.array([0.0] * 20))
    with pytest.raises(UserError, match="the weights of all 20 training images are 0"):
        next(Mixture(Samples(real.images, index, real.classes)).epoch(1, batch_size=4, seed=0))
