from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from imagetrail.base import samples
from imagetrail.base.errors import UserError
from imagetrail.base.samples import Images, Samples

# height and width differ on purpose
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), np.uint8)
INDEX = samples.make_index(
    ids=list("abcde"),
    labels=[1, 0, 1, 1, 0],
    origin="augmented",
    parents=["p", None, "q", None, "p"],
    sources=list("vwxyz"),
    fingerprints=[samples.fingerprint(image) for image in IMAGES],
)


def write(folder: Path, chunks: Iterator[Images] | list[Images]) -> Samples:
    samples.write(folder, chunks, INDEX, classes=["été", "冬"], shape=(4, 6, 3))
    return samples.read(folder)


def test_samples_come_back_as_written_in_whatever_chunks(tmp_path: Path) -> None:
    back = write(tmp_path / "s", [IMAGES[:2], IMAGES[2:2], IMAGES[2:]])
    assert np.array_equal(back.images, IMAGES) and back.images.dtype == np.uint8 and len(back) == 5
    assert back.labels.tolist() == [1, 0, 1, 1, 0] and back.labels.dtype == np.int64
    assert back.column("parent") == ["p", None, "q", None, "p"] and back.column("id") == list(
        "abcde"
    )
    assert back.column("origin") == ["augmented"] * 5 and back.column("source") == list("vwxyz")
    assert back.column("fingerprint") == [samples.fingerprint(image) for image in back.images]
    assert back.classes == ("été", "冬")
    assert [len(chunk) for chunk in back.chunks(2)] == [2, 2, 1]
    assert np.array_equal(np.concatenate(list(back.chunks(2))), IMAGES)


def test_reading_samples_leaves_images_on_disk(tmp_path: Path) -> None:
    assert isinstance(write(tmp_path / "s", [IMAGES]).images, np.memmap)


def test_images_gathered_are_those_asked_for_also_of_a_part_of_a_file(tmp_path: Path) -> None:
    whole = write(tmp_path / "s", [IMAGES])
    part = Samples(whole.images[2:], whole.index[2:], whole.classes)
    assert isinstance(part.images, np.memmap)
    numbers = np.array([2, 0, 2])
    assert np.array_equal(whole.gather(numbers), IMAGES[[2, 0, 2]])
    assert np.array_equal(part.gather(numbers), IMAGES[[4, 2, 4]])
    assert not isinstance(part.gather(numbers), np.memmap)


def test_a_part_has_the_images_asked_for_with_their_rows(tmp_path: Path) -> None:
    part = write(tmp_path / "s", [IMAGES]).part(np.array([3, 0]))
    assert np.array_equal(part.images, IMAGES[[3, 0]])
    assert part.column("id") == ["d", "a"] and part.labels.tolist() == [1, 1]


def test_no_samples_at_all_can_be_written_and_read(make_samples: Callable[..., Samples]) -> None:
    none = make_samples("none", np.empty((0, 4, 6, 3), np.uint8), [])
    assert len(none) == 0 and none.images.shape == (0, 4, 6, 3) and none.labels.shape == (0,)
    assert list(none.chunks()) == []


def test_samples_that_fail_halfway_leave_the_old_folder_whole(tmp_path: Path) -> None:
    def broken() -> Iterator[Images]:
        yield IMAGES[:2]
        raise RuntimeError("power cut")

    write(tmp_path / "s", [IMAGES])
    with pytest.raises(RuntimeError, match="power cut"):
        write(tmp_path / "s", broken())
    assert np.array_equal(samples.read(tmp_path / "s").images, IMAGES)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    "images",
    [IMAGES[:4], IMAGES[:, :3], IMAGES.astype(np.int64)],
    ids=["too few", "shape", "dtype"],
)
def test_images_that_disagree_with_index_or_shape_are_never_written(
    tmp_path: Path, images: Images
) -> None:
    with pytest.raises(AssertionError):
        write(tmp_path / "s", [images])
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_images_and_index_disagree_is_not_opened(tmp_path: Path) -> None:
    write(tmp_path / "s", [IMAGES])
    np.save(tmp_path / "s" / "images.npy", IMAGES[:4])
    with pytest.raises(UserError, match="is damaged"):
        samples.read(tmp_path / "s")


@pytest.mark.parametrize("name", ["images.npy", "index.parquet", "classes.json"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [(Path.unlink, "is missing"), (lambda file: file.write_bytes(b"PAR1"), "is damaged")],
    ids=["missing", "damaged"],
)
def test_a_folder_with_a_missing_or_damaged_file_is_one_line_that_names_the_file(
    tmp_path: Path, name: str, damage: Callable[[Path], object], words: str
) -> None:
    write(tmp_path / "s", [IMAGES])
    damage(tmp_path / "s" / name)
    with pytest.raises(UserError, match=f"^{tmp_path / 's' / name} {words}") as caught:
        samples.read(tmp_path / "s")
    assert "\n" not in str(caught.value)


def test_an_index_of_old_that_lacks_a_column_is_told_from_a_whole_one(tmp_path: Path) -> None:
    write(tmp_path / "s", [IMAGES])
    pq.write_table(INDEX.drop_columns("fingerprint"), tmp_path / "s" / "index.parquet")
    with pytest.raises(UserError, match=r"is damaged \(its index has no fingerprint\)"):
        samples.read(tmp_path / "s")
    assert samples.read(tmp_path / "s", columns=["label"]).labels.tolist() == [1, 0, 1, 1, 0]


def test_a_fingerprint_is_equal_for_equal_pixels_only() -> None:
    image = IMAGES[0]
    assert samples.fingerprint(image) == samples.fingerprint(image.copy(order="F"))
    assert samples.fingerprint(image) != samples.fingerprint(image ^ np.uint8(1))


def test_rewriting_a_folder_leaves_no_file_of_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "s", [IMAGES])
    (tmp_path / "s" / "old.txt").touch()
    write(tmp_path / "s", [IMAGES])
    assert {path.name for path in (tmp_path / "s").iterdir()} == {
        "images.npy",
        "index.parquet",
        "classes.json",
    }


def test_further_columns_of_an_index_come_after_its_own_and_may_be_null(tmp_path: Path) -> None:
    columns = {"group": ["a", None], "camera": ["old", "new"]}
    index = samples.make_index(
        ids=["1", "2"], labels=[0, 1], origin="real", sources=["1", "2"], columns=columns
    )
    images = np.zeros((2, 4, 4, 1), np.uint8)
    samples.write(tmp_path / "x", [images], index, classes=["c", "d"], shape=(4, 4, 1))
    found = samples.read(tmp_path / "x")
    assert found.index.column_names == [*samples.INDEX.names, "group", "camera"]
    assert found.column("group") == ["a", None] and found.column("camera") == ["old", "new"]


def test_fewer_large_pictures_go_through_a_network_at_once() -> None:
    assert samples.at_once((28, 28), 1000) == 1000
    assert samples.at_once((224, 224), 1000) == 27
    assert samples.at_once((5000, 5000), 1000) == 1
