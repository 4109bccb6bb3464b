"""`imagetrail split`: from pictures and what inspect found to folders of samples, or one line."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image
from project import ROOT

from imagetrail.base import paths, samples
from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing, write_json
from imagetrail.base.params import load
from imagetrail.base.samples import Samples, fingerprint
from imagetrail.data import arrival
from imagetrail.data.datasets import DATASETS, Dataset
from imagetrail.data.decoding import Target, Unreadable
from imagetrail.data.params import Data
from imagetrail.data.pictures import Examined, Pictures, in_memory
from imagetrail.stages.split import others
from imagetrail.stages.split import stage as split

BROKEN = "dog/7.png"
OURS, NEW = np.random.default_rng(0).integers(0, 256, (2, 60, 8, 8, 1), np.uint8)
OURS[1::3] = OURS[::3]  # a third is there twice, once as a cat and once as a dog

Count = Counter[int]  # how often a picture of the other data set was decoded


def save(images: dict[str, NDArray[np.uint8]]) -> None:
    for name, image in images.items():
        path = Path("pictures") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)


def inspected(near: dict[str, int] | None = None) -> Pictures:
    """Writes what inspect finds, which takes the other stage; near: numbers of near duplicates."""
    data = load(Data, "data")
    pictures = arrival.read(data)
    found = [
        None if isinstance(seen, Unreadable) else fingerprint(seen[0])
        for seen in pictures.examined(range(len(pictures)), data.target)
    ]
    numbers = [(near or {}).get(source) for source in pictures.sources]
    columns = {
        "source": pictures.sources,
        "fingerprint": found,
        "near": pa.array(numbers, pa.int64()),
    }
    with replacing(paths.FINGERPRINTS) as temporary:
        pq.write_table(pa.table(columns), temporary)
    return pictures


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: pictures of the user's are in `pictures`, no other data set is named."""
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] |= {"name": "mine", "source": "own", "path": "pictures", "image_size": 8}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    for folder in (paths.RELATED_FILES, paths.UNKNOWN_FILES):
        write_json(folder / "datasets.json", [])
    return tmp_path


@pytest.fixture
def ours(project: Path) -> Path:
    """OURS, in the sub-folders cat and dog; one cannot be read."""
    save({f"{('cat', 'dog')[i % 2]}/{i}.png": image for i, image in enumerate(OURS)})
    (project / "pictures" / BROKEN).write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    inspected()
    return project


@pytest.fixture
def another(ours: Path, monkeypatch: pytest.MonkeyPatch) -> Count:
    """In place of digits a data set, related and unknown at once, that has OURS and NEW.

    Every other one is in its test set.
    """
    images, count = np.concatenate([OURS, NEW]), Count()
    names = [f"{i}.png" for i in range(120)]
    found = in_memory(
        ("cat", "fox"), images[..., 0], np.arange(120) % 2, ["train", "test"] * 60, names
    )

    def read(i: int, target: Target) -> Examined:
        count[i] += 1
        return found.read(i, target)

    counted = replace(found, read=read)
    monkeypatch.setitem(DATASETS, "digits", Dataset(lambda _: counted, "CC0", (), ()))
    for folder in (paths.RELATED_FILES, paths.UNKNOWN_FILES):
        write_json(ours / folder / "datasets.json", ["digits"])
    return count


def parts(*names: str) -> list[Samples]:
    return [samples.read(paths.SPLIT / name) for name in names]


def numbers(part: Samples) -> list[int]:
    return [int(Path(source).stem) for source in part.column("source")]


def test_weights_and_certainties_are_numbers_in_the_index_and_read_with_any_of_its_columns(
    project: Path,
) -> None:
    names = [f"{i}.png" for i in range(60)]
    save(dict(zip(names, OURS, strict=False)))
    rows = [f"{name},{('cat', 'dog')[i % 2]},{i / 8},{1 - i / 64}" for i, name in enumerate(names)]
    header = "path,label,weight,certainty"
    (project / "pictures/labels.csv").write_text("\n".join([header, *rows]))
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["data"]["table"] = "labels.csv"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    inspected()
    split.run()
    for part in parts("train", "valid", "test"):
        weights, certainties = part.index["weight"], part.index["certainty"]
        assert weights.type == certainties.type == pa.float64()
        assert weights.to_pylist() == [number / 8 for number in numbers(part)]
        assert certainties.to_pylist() == [1 - number / 64 for number in numbers(part)]
    read = samples.read(paths.TRAIN, columns=["label"]).index.column_names
    assert {"weight", "certainty"} < set(read)


@pytest.mark.usefixtures("ours")
def test_every_picture_of_a_split_has_the_fingerprint_of_its_pixels_and_its_group() -> None:
    split.run()
    for part in parts("train", "valid", "test"):
        assert part.column("fingerprint") == [fingerprint(image) for image in part.images]
        for number, group, own in zip(
            numbers(part), part.column("group"), part.column("fingerprint"), strict=True
        ):
            assert group == (own if number % 3 < 2 and number not in (6, 7) else None)


@pytest.mark.usefixtures("another")
def test_equal_pictures_are_on_one_side_and_a_related_one_is_on_none() -> None:
    split.run()
    train, valid, test, related = (
        set(part.column("fingerprint")) for part in parts("train", "valid", "test", "related")
    )
    assert not train & valid and not train & test and not valid & test
    assert related and not related & (train | valid | test)
    assert sum(len(part) for part in parts("train", "valid", "test")) == 59
    assert len(train | valid | test) == 40


# ---- other data sets ----


def test_a_picture_of_another_data_set_is_decoded_once(another: Count) -> None:
    split.run()
    assert another == dict.fromkeys(range(120), 1)  # half as related, half as unknown


@pytest.mark.usefixtures("another")
def test_related_pictures_are_of_train_shuffled_and_named_by_their_data_set() -> None:
    split.run()
    (related,) = parts("related")
    assert related.classes == ("cat", "dog", "digits/fox")
    found = numbers(related)
    assert found != sorted(found) and all(number % 2 == 0 for number in found)
    assert np.array_equal(related.images, np.concatenate([OURS, NEW])[found])
    assert related.column("id") == [f"digits/{number}.png" for number in found]


def test_unknown_pictures_are_drawn_from_the_test_set_that_was_published(
    another: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(others, "UNKNOWN", 10)
    split.run()
    (unknown,) = parts("unknown")
    found = numbers(unknown)
    assert len(set(found)) == 10 and all(number % 2 == 1 for number in found)
    assert sum(another[i] for i in range(1, 120, 2)) == 10
    assert np.array_equal(unknown.images, np.concatenate([OURS, NEW])[found])


@pytest.mark.usefixtures("ours")
def test_without_another_data_set_the_folders_are_empty_and_of_the_right_shape() -> None:
    split.run()
    for part in parts("related", "unknown"):
        assert part.images.shape == (0, 8, 8, 1) and part.index.schema == samples.INDEX


# ---- what inspect saw ----


def test_fingerprints_of_other_pictures_or_none_are_refused(ours: Path) -> None:
    (ours / "pictures/cat/0.png").unlink()
    with pytest.raises(UserError, match=f"{paths.FINGERPRINTS} is of other pictures; run `dvc"):
        split.run()
    paths.FINGERPRINTS.unlink()
    with pytest.raises(UserError, match=f"{paths.FINGERPRINTS} is missing"):
        split.run()


@pytest.mark.usefixtures("ours")
def test_a_picture_that_has_changed_since_inspect_saw_it_is_refused() -> None:
    save({"cat/20.png": 255 - OURS[20]})
    with pytest.raises(UserError, match=r"cat/20\.png is not what inspect saw; run `dvc repro`"):
        split.run()


# ---- corrections, groups and columns of the user's ----


@pytest.mark.usefixtures("ours")
def test_corrections_are_applied_before_the_division_and_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths.CORRECTIONS.write_text(
        "source,label,by,why\ncat/0.png,drop,,\ncat/2.png,dog,Ada,is one\n"
    )
    inspected()
    split.run()
    rows = {
        source: part.classes[label]
        for part in parts("train", "valid", "test")
        for source, label in zip(part.column("source"), part.labels, strict=True)
    }
    assert "cat/0.png" not in rows and rows["cat/2.png"] == "dog" and len(rows) == 58
    assert "1 label changed, 1 picture dropped" in capsys.readouterr().out


@pytest.mark.usefixtures("ours")
def test_groups_are_kept_together_and_columns_of_the_users_come_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups = tuple(f"patient {i % 15}" for i in range(60))
    columns: dict[str, list[Any]] = {"camera": ["old", None] * 30, "age": list(range(60))}
    found = replace(arrival.read(load(Data, "data")), groups=groups, columns=columns)
    monkeypatch.setattr(arrival, "read", lambda _: found)
    split.run()
    place = {source: i for i, source in enumerate(found.sources)}
    sides: dict[str, set[str]] = {}
    for name, part in zip(("train", "valid", "test"), parts("train", "valid", "test"), strict=True):
        mine = [place[source] for source in part.column("source")]
        assert part.column("camera") == [columns["camera"][i] for i in mine]
        assert part.column("age") == [str(i) for i in mine]
        for group in part.column("group"):
            sides.setdefault(group, set()).add(name)
    assert all(len(found) == 1 for found in sides.values()) and len(sides) > 3


# ---- published splits: leaks, and classes that nothing is left of ----


def save_published(
    part: str, images: NDArray[np.uint8], classes: tuple[str, ...] = ("cat", "dog")
) -> None:
    save({f"{part}/{classes[i % len(classes)]}/{i}.png": image for i, image in enumerate(images)})


@pytest.mark.usefixtures("project")
def test_what_leaves_train_is_counted_named_and_listed_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_published("train", NEW)
    save_published("test", np.concatenate([NEW[:4], OURS[:20]]))
    inspected(near={"train/cat/8.png": 1, "test/cat/6.png": 1})
    split.run()
    out = capsys.readouterr().out
    assert "5 pictures left train: train/cat/0.png equals test/cat/0.png in test; " in out
    with (paths.SPLIT / "left_out.csv").open() as file:
        rows = {row["source"]: (row["split"], row["reason"]) for row in csv.DictReader(file)}
    assert len(rows) == 5 and rows["train/dog/1.png"] == ("train", "equals test/dog/1.png in test")
    assert rows["train/cat/8.png"][1] == (
        "is a near duplicate or of the group of test/cat/6.png in test"
    )
    train, valid, test = parts("train", "valid", "test")
    assert len(test) == 24 and len(train) + len(valid) == 55


@pytest.mark.usefixtures("project")
def test_each_photo_as_png_and_as_jpeg_stands_on_one_side() -> None:
    """Fault 4: inspect numbers near duplicates, whose pixels differ."""
    save({f"{kind}/{i}.png": OURS[i] for i in range(0, 60, 3) for kind in ("cat",)})
    save({f"{kind}/{i}-again.png": OURS[i] ^ 1 for i in range(0, 60, 3) for kind in ("cat",)})
    save({f"dog/{i}.png": image for i, image in enumerate(NEW)})
    near = {f"cat/{i}{end}.png": i for i in range(0, 60, 3) for end in ("", "-again")}
    inspected(near)
    split.run()
    stems = [
        {Path(source).stem.split("-")[0] for source in part.column("source") if "cat" in source}
        for part in parts("train", "valid", "test")
    ]
    assert sum(map(len, stems)) == len(set.union(*stems)) == 20


@pytest.mark.usefixtures("project")
def test_a_test_set_that_is_a_copy_of_train_is_one_line_with_what_is_left() -> None:
    for part in ("train", "test"):
        save_published(part, NEW)
    inspected()
    with pytest.raises(
        UserError,
        match=r"class 'cat' would have 0 in train, 0 in valid, 30 in test, 30 left out .*: of its "
        r"60 pictures 30 are distinct .*; each part needs one \(and 1 more class\)$",
    ):
        split.run()
    assert not paths.SPLIT.exists()


@pytest.mark.usefixtures("project")
def test_one_class_whose_test_set_is_a_copy_of_train_is_named() -> None:
    save_published("train", NEW)
    save_published("test", np.stack([NEW[i] if i % 2 else OURS[i] for i in range(60)]))
    inspected()
    with pytest.raises(UserError, match=r"class 'dog' .* 0 in train, 0 in valid, 30 in test.*one$"):
        split.run()


@pytest.mark.usefixtures("project")
def test_a_class_of_one_picture_40_times_is_refused_with_its_count() -> None:
    save({f"cat/{i}.png": NEW[0] for i in range(40)})
    save({f"dog/{i}.png": image for i, image in enumerate(OURS)})
    inspected()
    with pytest.raises(
        UserError,
        match=r"class 'cat' would have 40 in train, 0 in valid, 0 in test: of its 40 pictures 1 ",
    ):
        split.run()


@pytest.mark.parametrize(("part", "words"), [("test", "gate cannot"), ("valid", "search does not")])
@pytest.mark.usefixtures("project")
def test_a_class_that_a_published_part_has_not_is_told(
    part: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_published("train", NEW)
    save_published("test", OURS[:21])
    pictures = inspected()
    splits = tuple(part if name == "test" else name for name in pictures.splits)
    dogs = pictures.labels == 1
    labels = np.where(dogs & (np.array(splits) == part), 0, pictures.labels)
    changed = replace(pictures, splits=splits, labels=labels)
    monkeypatch.setattr(arrival, "read", lambda _: changed)
    split.run()
    assert f"class 'dog' has no picture in {part}: the {words}" in capsys.readouterr().out
