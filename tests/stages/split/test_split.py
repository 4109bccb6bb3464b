"""`imagetrail inspect` and `split`: each decodes a picture once, and knows it by its pixels."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image
from project import ROOT

from imagetrail.base import paths, samples
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_json, write_json
from imagetrail.base.samples import Samples, fingerprint
from imagetrail.data.datasets import DATASETS, Dataset
from imagetrail.data.pictures import Pictures, Unreadable, in_memory
from imagetrail.stages.inspect import stage as inspect
from imagetrail.stages.split import others
from imagetrail.stages.split import stage as split

BROKEN = 7  # number of the picture of ours that cannot be read
OURS, NEW = np.random.default_rng(0).integers(0, 256, (2, 60, 8, 8, 1), np.uint8)
OURS[1::3] = OURS[::3]  # a third is there twice

Count = Counter[tuple[str, int]]  # how often a picture of a data set was decoded


def counting(name: str, pictures: Pictures, count: Count) -> Callable[[Path], Pictures]:
    def image(i: int) -> Image.Image:
        count[name, i] += 1
        if (name, i) == ("folder", BROKEN):
            raise Unreadable("damaged")
        return pictures.image(i)

    counted = replace(pictures, image=image)
    return lambda _: counted


def pictures(images: NDArray[np.uint8], classes: str, splits: list[str]) -> Pictures:
    labels, names = np.arange(len(images)) % 2, [f"{i}.png" for i in range(len(images))]
    return in_memory(classes.split(), images[..., 0], labels, splits, names)


@pytest.fixture
def decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Count:
    """The current folder is one in which inspect has run on OURS, and split is to run.

    In place of digits there is a data set, related and unknown at once, that has OURS and NEW,
    every other one in its test set.
    """
    monkeypatch.chdir(tmp_path)
    count: Count = Counter()
    ours = pictures(OURS, "cat dog", [""] * 60)
    other = pictures(np.concatenate([OURS, NEW]), "cat fox", ["train", "test"] * 60)
    for name, found in (("folder", ours), ("digits", other)):
        monkeypatch.setitem(DATASETS, name, Dataset(counting(name, found, count), "CC0"))
    for folder in (paths.RELATED_FILES, paths.UNKNOWN_FILES):
        write_json(folder / "datasets.json", ["digits"])
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] = {
        "name": "pictures",
        "source": "own",
        "path": ".",
        "image_size": 8,
        "channels": 1,
    }
    Path("params.yaml").write_text(yaml.safe_dump(params))
    inspect.run()
    return count


def parts(*names: str) -> list[Samples]:
    return [samples.read(paths.SPLIT / name) for name in names]


def test_each_stage_decodes_a_picture_once(decoded: Count) -> None:
    assert decoded == {("folder", i): 1 for i in range(60)}
    decoded.clear()
    split.run()
    assert decoded == {
        **{("folder", i): 1 for i in range(60) if i != BROKEN},
        **{("digits", i): 1 for i in range(120)},  # half as related, half as unknown
    }


@pytest.mark.usefixtures("decoded")
def test_every_picture_of_a_split_has_the_fingerprint_of_its_pixels() -> None:
    split.run()
    for part in parts("train", "valid", "test", "related", "unknown"):
        assert part.column("fingerprint") == [fingerprint(image) for image in part.images]


@pytest.mark.usefixtures("decoded")
def test_equal_pictures_are_on_one_side_and_a_related_one_is_not_in_valid_or_test() -> None:
    split.run()
    train, valid, test, related = (
        set(part.column("fingerprint")) for part in parts("train", "valid", "test", "related")
    )
    assert not train & valid and not train & test and not valid & test
    assert related & train and not related & (valid | test)
    ours = parts("train", "valid", "test")
    assert sum(len(part) for part in ours) == 59 and len(train | valid | test) == 40


@pytest.mark.usefixtures("decoded")
def test_related_pictures_are_of_train_shuffled_and_named_by_their_data_set() -> None:
    split.run()
    (related,) = parts("related")
    assert related.classes == ("cat", "dog", "digits/fox")
    numbers = [int(source.split("/")[1].split(".")[0]) for source in related.column("source")]
    assert numbers != sorted(numbers) and all(number % 2 == 0 for number in numbers)
    whole = np.concatenate([OURS, NEW])
    assert np.array_equal(related.images, whole[numbers])
    assert related.column("id") == [f"digits/{number}.png" for number in numbers]


def test_unknown_pictures_are_drawn_from_the_test_set_that_was_published(
    decoded: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(others, "UNKNOWN", 10)
    decoded.clear()
    split.run()
    (unknown,) = parts("unknown")
    numbers = [int(source.split("/")[1].split(".")[0]) for source in unknown.column("source")]
    assert len(set(numbers)) == 10 and all(number % 2 == 1 for number in numbers)
    assert sum(decoded["digits", i] for i in range(1, 120, 2)) == 10
    assert np.array_equal(unknown.images, np.concatenate([OURS, NEW])[numbers])


@pytest.mark.usefixtures("decoded")
def test_without_another_data_set_the_folders_are_empty_and_of_the_right_shape() -> None:
    for folder in (paths.RELATED_FILES, paths.UNKNOWN_FILES):
        write_json(folder / "datasets.json", [])
    split.run()
    for part in parts("related", "unknown"):
        assert part.images.shape == (0, 8, 8, 1) and part.index.schema == samples.INDEX


@pytest.mark.usefixtures("decoded")
def test_the_report_names_the_licence_and_the_pictures_that_are_there_twice() -> None:
    report = read_json(paths.INSPECTION)
    assert report["licence"] == "CC0" and report["images"] == 59
    assert [fault["source"] for fault in report["unreadable"]] == [f"{BROKEN}.png"]
    assert report["duplicates"]["superfluous"] == report["duplicates"]["groups"] == 19


def test_fingerprints_of_other_pictures_or_none_are_refused(
    decoded: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = pictures(OURS[:50], "cat dog", [""] * 50)
    monkeypatch.setitem(DATASETS, "folder", Dataset(counting("folder", fewer, decoded), "CC0"))
    with pytest.raises(UserError, match=f"{paths.FINGERPRINTS} is of other pictures; run `dvc"):
        split.run()
    paths.FINGERPRINTS.unlink()
    with pytest.raises(UserError, match=f"{paths.FINGERPRINTS} is missing"):
        split.run()


def test_a_picture_that_has_changed_since_inspect_saw_it_is_refused(
    decoded: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = OURS.copy()
    other[20] = 255 - other[20]
    changed = pictures(other, "cat dog", [""] * 60)
    monkeypatch.setitem(DATASETS, "folder", Dataset(counting("folder", changed, decoded), "CC0"))
    with pytest.raises(UserError, match=r"20\.png is not what inspect saw; run `dvc repro`"):
        split.run()
