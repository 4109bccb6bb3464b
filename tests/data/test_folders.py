import os
import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from photos import ANIMALS, animals, photo, photos

from imagetrail.base.errors import UserError
from imagetrail.data import folders, labels
from imagetrail.data.decoding import Target, Unreadable

TARGET = Target((8, 8, 1))


def refusal(top: Path) -> str:
    with pytest.raises(UserError) as caught:
        folders.read(top, "pets")
    said = str(caught.value)
    assert said.startswith("pets") and "\n" not in said and said.isprintable()
    return said


def in_classes(*tops: str) -> list[str]:
    return [f"{top}/{name}" for top in tops for name in ("cats/1.png", "dogs/1.png")]


def test_each_sub_folder_is_a_class_with_all_that_lies_below_it(tmp_path: Path) -> None:
    found = folders.read(animals(tmp_path), "pets")
    assert found.classes == ("cats", "dogs") and found.labels.tolist() == [0, 0, 1]
    assert found.sources == ANIMALS and set(found.splits) == {""} and not found.notes
    image, facts = found.read(2, TARGET)
    assert image.shape == (8, 8, 1) and facts.width == 9


def test_wrapping_folders_are_skipped_and_no_part_of_a_name(tmp_path: Path) -> None:
    animals(tmp_path / "download" / "pets")
    photo(tmp_path / "__MACOSX" / "download" / "1.png")
    assert folders.read(tmp_path, "pets").sources == ANIMALS


# ---- splits ----


@pytest.mark.parametrize(
    ("parts", "splits"),
    [
        (("train", "test"), {"train", "test"}),
        (("Training", "VAL", "testing"), {"train", "valid", "test"}),
        (("trn", "dev", "tst"), {"train", "valid", "test"}),
        (("train", "validation"), {"train", "valid"}),
        (("train", "valid", "holdout"), {"train", "valid", "test"}),
        (("train", "eval"), {"train", "test"}),
        (("train",), {""}),
    ],
)
def test_split_folders_are_kept_as_published_and_valid_too(
    tmp_path: Path, parts: tuple[str, ...], splits: set[str]
) -> None:
    found = folders.read(photos(tmp_path, in_classes(*parts)), "pets")
    assert found.classes == ("cats", "dogs")
    assert Counter(found.splits) == dict.fromkeys(splits, 2)


def test_what_is_not_published_is_said_to_be_carved(tmp_path: Path) -> None:
    found = folders.read(photos(tmp_path, in_classes("train", "val")), "pets")
    assert found.notes == ("train and valid as published; test will be carved from train",)


def test_a_class_that_a_split_lacks_is_told(tmp_path: Path) -> None:
    names = [*in_classes("train"), "test/cats/2.png", "valid/dogs/3.png"]
    notes = folders.read(photos(tmp_path, names), "pets").notes
    assert notes[1:] == ("valid has no picture of class cats", "test has no picture of class dogs")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([*in_classes("train", "test"), "birds/1.png"], ["test and train would be", "birds"]),
        ([*in_classes("train"), "test/1.png"], ["train would be", "test beside them"]),
        (in_classes("train_set", "test_set"), ["test_set and train_set", "call them train, valid"]),
        (in_classes("seg_train/seg_train", "seg_test/seg_test"), ["(cats and dogs)"]),
        (in_classes("2023", "2024", "2025"), ["2023, 2024 and 2025", "2023/2023-cats"]),
        (in_classes("train", "val", "dev"), ["dev and val would all be valid"]),
        (in_classes("valid", "test"), ["no picture is in train"]),
        ([*in_classes("train"), "test/birds/1.png"], ["class birds", "only in test"]),
        (["train/1.png", "test/1.png"], ["test and train hold no class folders"]),
        (["train/Cats/1.png", "train/dogs/1.png", *in_classes("test")], ["by case or spaces only"]),
    ],
)
def test_a_layout_that_could_mean_something_else_is_refused_with_the_way_out(
    tmp_path: Path, names: list[str], words: list[str]
) -> None:
    said = refusal(photos(tmp_path, names))
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    "names",
    [
        ["train/1.png", "bus/1.png", "car/1.png"],
        ["cats/images/1.png", "dogs/images/1.png"],
        ["cats/indoor/1.png", "cats/outdoor/1.png", "dogs/1.png"],
    ],
    ids=["trains", "a folder of images in each", "one parted class"],
)
def test_class_folders_that_look_a_little_like_splits_are_classes(
    tmp_path: Path, names: list[str]
) -> None:
    found = folders.read(photos(tmp_path, names), "pets")
    assert set(found.classes) == {name.split("/")[0] for name in names}


# ---- what is a picture ----


def test_a_file_is_judged_by_its_content_unless_its_name_says_that_it_is_none(
    tmp_path: Path,
) -> None:
    names = ("cats/3.webp", "cats/4.jfif", "cats/5", "cats/6.heic", "dogs/7.jpg_large")
    photos(animals(tmp_path), names)
    for name in ("cats/notes.txt", "cats/clip.MOV", "labels.csv"):
        (tmp_path / name).touch()
    photo(tmp_path / "stray.png")
    found = folders.read(tmp_path, "pets")
    assert {*found.sources} == {*ANIMALS, *names}
    assert {*found.ignored} == {
        ("cats/notes.txt", "no picture by its name"),
        ("cats/clip.MOV", "no picture by its name"),
        ("labels.csv", "no picture by its name"),
        ("stray.png", "in no class folder"),
    }


@pytest.mark.parametrize(
    "name",
    [".ipynb_checkpoints/1.png", ".git/1.png", "__MACOSX/1.png", "@eaDir/1.png", "cats/.2.png"],
)
def test_what_is_hidden_is_left_out_without_a_word(tmp_path: Path, name: str) -> None:
    photo(animals(tmp_path) / name)
    for system in ("Thumbs.db", ".DS_Store"):
        (tmp_path / "cats" / system).touch()
    found = folders.read(tmp_path, "pets")
    assert found.sources == ANIMALS and not found.ignored


def test_unreadable_pictures_are_told_in_their_place(tmp_path: Path) -> None:
    (animals(tmp_path) / "cats" / "1a.png").write_bytes(b"no picture")
    found = folders.read(tmp_path, "pets")
    kinds = [isinstance(one, Unreadable) for one in found.examined(range(len(found)), TARGET)]
    assert kinds == [False, True, False, False]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "pets: no class folders; wanted are class folders"),
        (["1.png"], "no class folders"),
        (["cats/1.png"], "only one class, 'cats'"),
        (["cats/1.png", "dogs/notes.txt"], "no picture in class dogs; add pictures or remove"),
    ],
    ids=["nothing", "no folder", "one class", "empty class"],
)
def test_a_folder_that_cannot_train_a_classifier_is_refused(
    tmp_path: Path, files: list[str], reason: str
) -> None:
    photos(tmp_path, files)
    assert reason in refusal(tmp_path)


# ---- what DVC would not see ----


def linked(path: Path) -> None:
    path.symlink_to(path.parent, target_is_directory=True)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.png")


def circular(path: Path) -> None:
    path.symlink_to(path.name)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def hiding(path: Path) -> None:
    path.parent.mkdir()
    path.touch()


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(path))  # an absolute path may be too long for it


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("cats/loop", linked, "cats/loop is a linked folder, behind which DVC sees no change"),
        ("cats/3.png", dangling, "cats/3.png is a link that leads nowhere"),
        ("birds", linked, "birds is a linked folder, behind which DVC sees no change"),
        ("cats/3.png", circular, "cats/3.png is a link that leads nowhere"),
        ("birds", circular, "birds is a link that leads nowhere"),
        ("cats/zero.png", endless, "cats/zero.png is neither file nor folder"),
        ("cats/pipe", os.mkfifo, "cats/pipe is neither file nor folder"),
        ("cats/socket", listening, "cats/socket is neither file nor folder"),
        ("cats/dvc.yaml", Path.touch, "cats/dvc.yaml is DVC's, not a picture"),
        (".dvcignore", Path.touch, ".dvcignore is DVC's, not a picture"),
        (".dvc", Path.mkdir, ".dvc is DVC's, not a picture"),
        ("dvc.lock", Path.touch, "dvc.lock is DVC's, not a picture"),
        ("cats/birds.dvc", Path.touch, "cats/birds.dvc is DVC's, not a picture"),
        (".hidden/dvc.yaml", hiding, ".hidden/dvc.yaml is DVC's, not a picture"),
        (".pipe", os.mkfifo, ".pipe is neither file nor folder"),
        (".#1.png", dangling, ".#1.png is a link that leads nowhere"),
        (os.fsdecode(b".caf\xe9"), Path.touch, ".caf\\xe9: the name is not UTF-8"),
    ],
)
def test_what_would_keep_dvc_from_seeing_the_pictures_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: object, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert callable(make)
    make(animals(tmp_path) / name)
    assert reason in refusal(tmp_path)


def test_what_dvc_and_git_keep_beside_class_folders_is_no_fault(tmp_path: Path) -> None:
    """As after `dvc add cats`, in a clone of its own."""
    (animals(tmp_path) / "cats.dvc").touch()
    (tmp_path / ".gitignore").write_text("/cats")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "dvc.yaml").touch()
    assert folders.read(tmp_path, "pets").sources == ANIMALS


LONGEST = "x" * 251 + ".png"  # 255 bytes, which is all that file systems take


def test_pictures_may_have_any_name_that_can_be_written_down(tmp_path: Path) -> None:
    names = {f"cats/{name}" for name in ("-rf.png", "a.PNG", "a.png", LONGEST, "caf\u00e9.png")}
    found = folders.read(photos(animals(tmp_path), names), "pets")
    assert set(found.sources) == {*ANIMALS, *names}


def test_linked_pictures_and_a_linked_top_are_taken(tmp_path: Path) -> None:
    animals(tmp_path / "there")
    (tmp_path / "there" / "dogs" / "2.png").symlink_to(tmp_path / "there" / "cats" / "1.png")
    (tmp_path / "here").symlink_to("there")
    assert len(folders.read(tmp_path / "here", "pets")) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is locked for root")
def test_a_locked_folder_is_named(tmp_path: Path) -> None:
    (animals(tmp_path) / "cats").chmod(0)
    try:
        assert "cats/: cannot be listed (permission denied)" in refusal(tmp_path)
    finally:
        (tmp_path / "cats").chmod(0o700)


# ---- names ----

GOOD_NAMES = [
    "a class",
    "a, b; c",
    'it\'s "quoted"',
    "<b>bold",
    "狗",
    "हिन्दी",
    "-rf",
    "null",
    "true",
    "$5_to_$10",
    "no\u00a0break",
    "👩‍🔬",
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_class_may_have_any_name_that_can_be_shown(tmp_path: Path, name: str) -> None:
    found = folders.read(photos(tmp_path, [f"{name}/1.png", "other/1.png"]), "pets")
    assert set(found.classes) == {name, "other"}


def test_classes_that_are_numbers_are_in_their_order() -> None:
    assert labels.in_order(["10", "2", "1", "2"]) == ["1", "2", "10"]
    assert labels.in_order(["b", "10", "a", "2"]) == ["10", "2", "a", "b"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"caf\xe9/1.png", "caf\\xe9: the name is not UTF-8; rename it"),
        (b"cats/caf\xe9.png", "cats/caf\\xe9.png: the name is not UTF-8"),
        (b"two\nlines/1.png", "two\\nlines: the name has a control character"),
        (b"esc\x1b[31m/1.png", "esc\\x1b[31m: the name has a control character"),
        ("a\u2028b/1.png".encode(), "a\\u2028b: the name has a control character"),
        ("a\u202egnp.exe/1".encode(), "a\\u202egnp.exe: the name has a control character"),
        ("a/b\u2069.png".encode(), "b\\u2069.png: the name has a control character"),
    ],
)
def test_a_name_that_cannot_be_written_down_is_refused_escaped(
    tmp_path: Path, name: bytes, reason: str
) -> None:
    path = animals(tmp_path) / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert reason in refusal(tmp_path)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ("Cats", "cats", "case"),
        ("Straße", "STRASSE", "case"),
        ("big cats", "big  cats", "spaces"),
        ("cats", "cats ", "spaces"),
        ("caf\u00e9", "cafe\u0301", "the Unicode form of a letter"),
    ],
)
def test_two_classes_that_look_alike_are_refused_by_both_names(
    tmp_path: Path, one: str, other: str, difference: str
) -> None:
    said = refusal(photos(tmp_path, [f"{one}/1.png", f"{other}/1.png", "dogs/1.png"]))
    assert repr(one) in said and repr(other) in said and difference in said


def test_classes_of_published_splits_that_look_alike_are_told_with_their_folders(
    tmp_path: Path,
) -> None:
    names = ["train/cat/1.png", "train/dog/1.png", "test/Cat/1.png", "test/dog/1.png"]
    said = refusal(photos(tmp_path, names))
    assert "classes 'Cat' (test/Cat) and 'cat' (train/cat) differ by case" in said


def test_pictures_are_the_same_however_often_they_are_listed(tmp_path: Path) -> None:
    photos(tmp_path, [f"{kind}/{i}.png" for kind in "ba" for i in range(20)])
    one, two = folders.read(tmp_path, "pets"), folders.read(tmp_path, "pets")
    assert one.sources == two.sources and np.array_equal(one.labels, two.labels)
