"""data/corrections.csv: what people say is taken as they wrote it, or refused in a line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imagetrail.base.errors import UserError
from imagetrail.data import corrections
from imagetrail.data.corrections import Correction
from imagetrail.data.decoding import Target
from imagetrail.data.pictures import Pictures, in_memory

HEADER = "source,label,by,why\n"
NAMES = ("cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png")


def pictures(classes: str = "cat dog", names: tuple[str, ...] = NAMES) -> Pictures:
    """The pixels of picture i are all i."""
    images = np.arange(len(names), dtype=np.uint8)[:, None, None] + np.zeros((8, 8), np.uint8)
    labels = np.arange(len(names)) * 2 // len(names)
    return in_memory(classes.split(), images, labels, [""] * len(names), names)


def corrected(folder: Path, text: str | bytes, found: Pictures | None = None) -> Pictures:
    path = folder / "corrections.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return corrections.apply(found or pictures(), path)


def pixels(found: Pictures) -> list[int]:
    return [int(image[0, 0, 0]) for image in found.readable(range(len(found)), Target((8, 8, 1)))]


def names_of(found: Pictures) -> dict[str, str]:
    return {
        source: found.classes[label]
        for source, label in zip(found.sources, found.labels, strict=True)
    }


def test_a_label_is_changed_and_a_picture_dropped_with_all_that_belongs_to_it(
    tmp_path: Path,
) -> None:
    found = corrected(tmp_path, f"{HEADER}cat/0.png,drop,Ada,blurred\ncat/1.png,dog,,\n")
    assert names_of(found) == {"cat/1.png": "dog", "dog/2.png": "dog", "dog/3.png": "dog"}
    assert pixels(found) == [1, 2, 3] and len(found.splits) == 3


def test_a_label_that_a_person_gives_is_sure_whatever_the_table_said(tmp_path: Path) -> None:
    doubted = replace(pictures(), columns={"certainty": [0.5, 0.6, 0.7, 0.8]})
    found = corrected(tmp_path, f"{HEADER}cat/1.png,dog,,\ndog/2.png,dog,,\n", doubted)
    assert found.columns == {"certainty": [0.5, None, None, 0.8]}
    assert doubted.columns == {"certainty": [0.5, 0.6, 0.7, 0.8]}


def test_without_a_file_or_a_row_the_pictures_are_as_they_came(tmp_path: Path) -> None:
    found = pictures()
    assert corrections.apply(found, tmp_path / "none.csv") is found
    assert corrected(tmp_path, HEADER, found) is found and corrected(tmp_path, "", found) is found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f"{HEADER}cat/0.png,dgo,,\n",
            "line 2: unknown class 'dgo'; did you mean 'dog'\\? choose ",
        ),
        (f"{HEADER}cat/0.png,Drop,,\n", "did you mean 'drop'\\? choose from cat, dog, drop"),
        (
            f"{HEADER}cat/0.png,dog,,\ncat/1.png,dog,,\ncat/0.png,drop,,\n",
            "cat/0.png is 'dog' in line 2, 'drop' in line 4; keep one",
        ),
        ("source,label\ncat/0.png,dog\n", "has the columns source, label; they must be source, "),
        ("source;label;by;why\n", "the columns source;label;by;why; they must be .* with a comma"),
        (f"{HEADER}cat/0.png,dog,Ada\n", "line 2: a row needs source, label, by, why"),
        (f"{HEADER}cat/0.png,dog,Ada,so, so\n", "line 2: .* a comma within them wants quotes"),
        (f"{HEADER},dog,Ada,\n", "line 2: a row needs source"),
        (f"{HEADER}cat/0.png,,Ada,\n", "line 2: a row needs source, label"),
        (f'{HEADER}cat/0.png,dog,Ada,"why\n', "a quote opened in line 2 is never closed"),
        (f"{HEADER}a,dog,,\nb,dog,J\xf6rg,\n".encode("latin-1"), "line 3: it is not UTF-8"),
        (f"{HEADER}cat/0.png,dog,,\n".encode("utf-16"), "line 1: it is not UTF-8"),
        (HEADER + "".join(f"{name},drop,,\n" for name in NAMES), "drops every picture"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_where(
    tmp_path: Path, text: str | bytes, words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        corrected(tmp_path, text)
    assert "corrections.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_spreadsheets_marks_blank_lines_and_order_of_columns_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeffwhy,source,label,by\r\n\r\n,cat/0.png,dog,Ada\r\n,cat/0.png,dog,Bob\r\n"
    assert names_of(corrected(tmp_path, text))["cat/0.png"] == "dog"


def test_a_note_counts_what_was_done_and_pictures_removed_since(tmp_path: Path) -> None:
    text = f"{HEADER}old.png,dog,,\ncat/0.png,dog,,\nolder.png,drop,,\n"
    assert corrected(tmp_path, text).notes == (
        f"{tmp_path}/corrections.csv: 1 label changed, 0 pictures dropped; "
        "2 rows name pictures that are not there, the first old.png",
    )


def test_a_class_whose_pictures_have_all_gone_to_another_is_none_and_is_told(
    tmp_path: Path,
) -> None:
    found = corrected(tmp_path, f"{HEADER}cat/0.png,drop,,\ncat/1.png,dog,,\n")
    assert found.classes == ("dog",) and found.labels.tolist() == [0, 0, 0]
    path = tmp_path / "corrections.csv"
    assert found.notes == (
        f"{path}: 1 label changed, 1 picture dropped",
        f"warning: class 'cat' has no picture left after {path} and is no class any more",
    )


def test_a_class_called_drop_is_refused_as_soon_as_a_row_says_drop(tmp_path: Path) -> None:
    found = pictures("drop pad")
    assert corrected(tmp_path, f"{HEADER}cat/0.png,pad,,\n", found).labels.tolist() == [1, 0, 1, 1]
    with pytest.raises(UserError, match=r"line 2: 'drop' leaves a picture out, and is a class"):
        corrected(tmp_path, f"{HEADER}cat/0.png,drop,,\n", found)


ODD = (
    'a "b", c.png', "-.png", "two\nlines.png", "cr\r.png", "图.png", "=1+1.png", " .png", "#1'.png",
)  # fmt: skip


def test_odd_names_survive_writing_reading_and_applying(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    classes = ('1,"2"', "$5 to\n$10")
    written = [Correction(name, classes[0], "Ada, B.", 'so\r\n"so"') for name in ODD]
    corrections.write(path, written)
    assert corrections.read(path) == written
    labels = np.ones(len(ODD), np.int64)
    found = in_memory(classes, np.zeros((len(ODD), 8, 8), np.uint8), labels, [""] * len(ODD), ODD)
    assert set(names_of(corrections.apply(found, path)).values()) == {classes[0]}
