import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from imagetrail.base import files, samples
from imagetrail.base.errors import UserError
from imagetrail.base.samples import Images, Samples

IMAGES = np.random.default_rng(0).integers(
    0, 256, (5, 4, 6, 3), np.uint8
)  # height and width differ on purpose
INDEX = samples.make_index(
    ids=list("abcde"),
    labels=[1, 0, 1, 1, 0],
    origin="augmented",
    parents=["p", None, "q", None, "p"],
    sources=list("vwxyz"),
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


def test_rewriting_a_folder_leaves_no_file_of_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "s", [IMAGES])
    (tmp_path / "s" / "old.txt").touch()
    write(tmp_path / "s", [IMAGES])
    assert {path.name for path in (tmp_path / "s").iterdir()} == {
        "images.npy",
        "index.parquet",
        "classes.json",
    }


def test_a_json_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "metrics.json"
    files.write_json(path, {"top1": 0.5})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, {"top1": float("nan")})
    assert json.loads(path.read_text()) == {"top1": 0.5}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_what_a_crash_left_behind_does_not_stop_the_next_write(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / ".a.json.partial")
    files.write_json(tmp_path / "a.json", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_csv_rows_come_back_whatever_is_in_them(tmp_path: Path) -> None:
    rows = [{"name": 'a,"b"', "note": "two\nlines"}, {"name": "ç", "note": ""}]
    files.write_csv(tmp_path / "a.csv", rows)
    assert files.read_csv(tmp_path / "a.csv") == rows


def test_removing_a_link_spares_the_folder_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "not there")
    assert [path.name for path in tmp_path.iterdir()] == ["real"]
