import shutil
from pathlib import Path
from typing import Any

import pytest
from photos import ANIMALS, animals, as_gzip, as_zip, hub, photo

from imagetrail.base import files
from imagetrail.base.errors import UserError
from imagetrail.data import arrival
from imagetrail.data.params import Data


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def data(path: Path, **changes: Any) -> Data:
    values = {"name": "pets", "source": "own", "path": path, "image_size": 8, "channels": 3}
    return Data.model_validate(values | changes)


def fetch(chosen: Data) -> dict[str, Any]:
    with files.replacing(Path("data/raw/pets/files")) as folder:
        return arrival.fetch(chosen, folder)


def test_a_folder_stays_where_it_is_and_is_counted() -> None:
    chosen = data(animals(Path("my pets")))
    facts = fetch(chosen)
    sizes = [path.stat().st_size for path in Path("my pets").rglob("*") if path.is_file()]
    assert facts["files"] == 3 and facts["bytes"] == sum(sizes)
    assert facts["used"] == {"": "my pets"} and facts["licence"] == "the user's own"
    assert Path("data/raw/pets/files/elsewhere.txt").read_text() == f"{chosen.path}\n"
    assert arrival.read(chosen).sources == ANIMALS


@pytest.mark.parametrize("pack", [as_zip, as_gzip])
def test_an_archive_has_the_ids_of_its_folder(pack: Any) -> None:
    chosen = data(pack(animals(Path("pets"))))
    shutil.rmtree("pets")
    assert fetch(chosen)["files"] == 3
    assert arrival.read(chosen).sources == ANIMALS


def test_a_parquet_file_stays_where_it_is() -> None:
    chosen = data(hub(Path("pets.parquet"), [1, 2], [0, 1]))
    assert fetch(chosen)["files"] == 1
    assert len(arrival.read(chosen)) == 2
    assert [file.name for file in Path("data/raw/pets/files").iterdir()] == ["elsewhere.txt"]


def test_what_is_said_of_the_splits_is_in_the_provenance() -> None:
    animals(Path("pets/train"))
    animals(Path("pets/test"))
    notes = fetch(data(Path("pets")))["notes"]
    assert notes == ["train and test as published; valid will be carved from train"]


@pytest.mark.parametrize("pack", [None, as_zip])
def test_messages_name_the_users_own_path(pack: Any) -> None:
    top = animals(Path("my pets"))
    photo(top / "Dogs" / "1.png")
    chosen = data(pack(top) if pack else top)
    with pytest.raises(UserError) as caught:
        fetch(chosen)
    assert str(caught.value).startswith(f"{chosen.path}: classes 'Dogs' and 'dogs' differ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("labels.csv", "is a table without its pictures; write data.path: . and data.table: "),
        ("photo.png", "photo.png is neither a folder nor an archive (zip, tar"),
        ("notes.txt", "data.path must name a folder that has a folder of pictures for each class"),
        ("broken.zip", "broken.zip is an archive that is cut off or damaged"),
    ],
)
def test_a_path_to_something_else_is_refused_with_what_is_wanted(name: str, words: str) -> None:
    Path(name).write_text("path,label\n")
    with pytest.raises(UserError) as caught:
        fetch(data(Path(name)))
    assert words in str(caught.value)


def test_an_archive_without_its_end_is_called_cut_off_whatever_its_name() -> None:
    whole = as_zip(animals(Path("pets"))).read_bytes()
    Path("download").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="download is an archive that is cut off or damaged"):
        fetch(data(Path("download")))


def test_pictures_that_were_not_fetched_are_a_line_that_says_what_fetches_them() -> None:
    digits = data(Path("pets")).model_copy(update={"source": "digits", "name": "digits"})
    with pytest.raises(UserError) as caught:
        arrival.originals(digits)
    wanted = "the pictures of digits are not here yet; run `dvc repro inspect` first"
    assert str(caught.value) == wanted
