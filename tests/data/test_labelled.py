import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from photos import hub, photo, photos, png

from imagetrail.base.errors import UserError
from imagetrail.data import labelled, own, parquet
from imagetrail.data.decoding import Target, Unreadable
from imagetrail.data.pictures import Pictures

TARGET = Target((8, 8, 3))
PETS = ("cats.png", "more/dog 1.png")
ROWS = [{"path": "cats.png", "label": "cat"}, {"path": "more/dog 1.png", "label": "dog"}]


def table(folder: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    photos(folder, PETS)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def read(folder: Path, name: str = "labels.csv") -> Pictures:
    return labelled.read(folder, name, "pets")


def refusal(folder: Path, name: str = "labels.csv") -> str:
    with pytest.raises(UserError) as caught:
        read(folder, name)
    said = str(caught.value)
    assert said.startswith("pets: ") and "\n" not in said and said.isprintable()
    return said


def lines(*rows: str, header: str = "path,label") -> str:
    return "\n".join([header, *rows]) + "\n"


GOOD = lines("cats.png,cat", "more/dog 1.png,dog")


# ---- kinds of tables ----


def written(rows: Sequence[Mapping[str, str]], name: str) -> bytes:
    """The same rows in each kind of file."""
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), out := io.BytesIO())
        return out.getvalue()
    if name.endswith(("l", "n")):
        return "".join(json.dumps(row) + "\n\n" for row in rows).encode()
    mark = {"tsv": "\t", "csv": ","}[name[-3:]]
    return "\r\n".join(mark.join(row) for row in [list(rows[0]), *map(dict.values, rows)]).encode()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.ndjson", "a.parquet"])
def test_every_kind_of_table_says_the_same(tmp_path: Path, name: str) -> None:
    found = read(table(tmp_path, written(ROWS, name), name), name)
    assert found.classes == ("cat", "dog") and found.labels.tolist() == [0, 1]
    assert found.sources == PETS and found.splits == ("", "") and not found.ignored
    assert found.read(1, TARGET)[0].shape == (8, 8, 3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    text = lines("cats.png,Kätzchen", "more/dog 1.png,狗")
    assert read(table(tmp_path, text.encode(encoding))).classes == ("Kätzchen", "狗")


def test_a_spreadsheets_semicolons_and_quotes_are_understood(tmp_path: Path) -> None:
    text = lines('cats.png;"a; ""b"""', "more/dog 1.png;a, c", header="Path;Label")
    assert {*read(table(tmp_path, text)).classes} == {'a; "b"', "a, c"}


@pytest.mark.parametrize("names", [("null", "true"), ("1", "1.0"), ("NaN", "None"), ("a/b", "-x")])
def test_labels_are_texts_and_no_values(tmp_path: Path, names: tuple[str, str]) -> None:
    text = lines(f"cats.png,{names[0]}", f"more/dog 1.png,{names[1]}")
    assert set(read(table(tmp_path, text)).classes) == {*names}


@pytest.mark.parametrize(("one", "other"), [(True, False), (1, 10), (0.5, 2.0)])
def test_values_of_json_lines_are_named_as_they_stand_there(
    tmp_path: Path, one: Any, other: Any
) -> None:
    rows = [{"file_name": PETS[0], "label": one}, {"file_name": PETS[1], "label": other}]
    text = "\n".join(map(json.dumps, rows))
    found = read(table(tmp_path, text, "a.jsonl"), "a.jsonl")
    assert set(found.classes) == {json.dumps(one), json.dumps(other)}


# ---- columns ----


def test_split_group_and_the_users_own_columns_are_kept(tmp_path: Path) -> None:
    text = (
        lines(
            "dog,more/dog 1.png,Train,p1,7,x",
            "cat,cats.png,validation,,,y",
            "cat,3.png,,p1,8,z",
            header="Category,File_Name,SPLIT,Group,age,id,",
        )
        .replace(",x\n", ",x,\n")
        .replace(",y\n", ",y,\n")
        .replace(",z\n", ",z,\n")
    )
    photo(tmp_path / "3.png")
    found = read(table(tmp_path, text))
    assert found.splits == ("train", "valid", "train") and found.groups == ("p1", "", "p1")
    assert found.columns == {"age": ["7", "", "8"], "own_id": ["x", "y", "z"]}


def test_weights_are_numbers_by_their_rows_and_a_table_without_them_has_none(
    tmp_path: Path,
) -> None:
    text = lines("cats.png,cat,0.5", "more/dog 1.png,dog,2e0", header="path,label,Weight")
    found = read(table(tmp_path, text))
    assert found.columns == {"weight": [0.5, 2.0]}
    assert "pictures count in training as the column 'weight' says" in found.notes
    photo(tmp_path / "3.png")
    table(tmp_path, lines("3.png,dog"), "more.csv")
    assert read(tmp_path, "*.csv").columns == {"weight": [0.5, 2.0, None]}
    assert not read(table(tmp_path, GOOD)).columns


def test_certainties_are_numbers_by_their_rows_beside_weights(tmp_path: Path) -> None:
    text = lines(
        "cats.png,cat,1,0.75", "more/dog 1.png,dog,2,1", header="path,label,weight,Certainty"
    )
    found = read(table(tmp_path, text))
    assert found.columns == {"weight": [1.0, 2.0], "certainty": [0.75, 1.0]}
    assert "labels are as sure in training as the column 'certainty' says" in found.notes
    photo(tmp_path / "3.png")
    table(tmp_path, lines("3.png,dog"), "more.csv")
    assert read(tmp_path, "*.csv").columns["certainty"] == [0.75, 1.0, None]


def test_a_blank_beside_a_published_split_is_train(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(4)]
    rows = ["0.png,a,", "1.png,b,", "2.png,a,test", "3.png,b,test"]
    text = lines(*rows, header="path,label,split")
    found = read(table(photos(tmp_path, names), text))
    assert found.splits == ("train", "train", "test", "test")
    assert any("train and test as published" in note for note in found.notes)
    assert read(table(tmp_path, text.replace("test", ""))).splits == ("",) * 4


def test_pictures_of_one_patient_are_a_group_and_the_column_stays(tmp_path: Path) -> None:
    text = lines("dog,more/dog 1.png,7", "cat,cats.png,7", header="label,path,Patient")
    found = read(table(tmp_path, text))
    assert found.groups == ("7", "7") and found.columns == {"Patient": ["7", "7"]}
    assert "pictures of one 'Patient' stay on one side of the split" in found.notes


def test_pictures_that_share_a_value_of_any_group_column_are_one_group(tmp_path: Path) -> None:
    rows = ["1.png,a,7,x", "2.png,b,8,x", "3.png,a,8,", "4.png,b,x,", "5.png,a,,7", "6.png,b,,"]
    text = lines(*rows, header="path,label,patient,Subject")
    found = read(table(photos(tmp_path, [f"{n}.png" for n in range(1, 7)]), text))
    assert found.groups == ("patient 7",) * 3 + ("patient x", "subject 7", "")
    assert found.columns["patient"][1] == "8" and found.columns["Subject"][1] == "x"
    assert "pictures of one 'patient' or 'Subject' stay on one side of the split" in found.notes


def test_spaces_around_a_group_make_no_other_group(tmp_path: Path) -> None:
    rows = ["cats.png,cat,p1 ", "more/dog 1.png,dog, p1", "cats.png,cat,p1"]
    found = read(table(tmp_path, lines(*rows, header="path,label,group")))
    assert found.groups == ("p1", "p1")
    assert read(
        table(tmp_path, lines(*rows[:1], "more/dog 1.png,dog, ", header="path,label,group"))
    ).groups == ("p1", "")


def test_a_group_may_reach_over_tables(tmp_path: Path) -> None:
    table(tmp_path, lines("cats.png,cat,1,s", header="path,label,patient,subject"), "a.csv")
    table(tmp_path, lines("more/dog 1.png,dog,s", header="path,label,SUBJECT"), "b.csv")
    assert read(tmp_path, "*.csv").groups == ("patient 1", "patient 1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (lines("a,b", header="name,label"), ["no column for the path", "call one of name, label"]),
        (lines("a,b", header="path,species"), ["no column for the label", "'label'"]),
        (lines("a,b,c", header="path,Class,label"), ["'Class' and 'label' may both be the label"]),
        (
            lines("a,b,c,d", header="path,label,person,Person"),
            ["'person' and 'Person' may both be the person"],
        ),
        (lines("a,b,c", header="path,label,label"), ["several columns called 'label'"]),
        ("", ["has no rows"]),
        ("path,label\n", ["has no rows"]),
        (lines("cats.png,cat,dog"), ["labels.csv, line 2 has 3 values, but the header 2 names"]),
        (lines("cats.png"), ["line 2 has 1 values"]),
        (lines('cats.png,"cat'), ["line 2: a quote opened in line 2 is never closed"]),
        (lines("cats.png,cat", "b.png,", "c.png, "), ["line 3: 'label' is empty, and 1 more"]),
        (lines(",cat"), ["line 2: 'path' is empty"]),
        (
            lines("a,b", 'c,"d', "e,f"),
            ["labels.csv, line 3: a quote opened in line 3 is never closed"],
        ),
        (
            lines('a,"b', "c,d", 'e,"f"'),
            ["labels.csv, line 2: a quote opened in line 2 goes on to line 4 ("],
        ),
        (
            lines("b.png,dog", header="a.PNG,cat"),
            ["line 1 has the picture a.PNG; the first line must name the columns, such as path,l"],
        ),
        (lines("a,b,tests", header="path,label,split"), ["line 2: no split is 'tests'"]),
        *(
            (
                lines("cats.png,cat,1", f"more/dog 1.png,dog,{wrong}", header="path,label,weight"),
                [f"labels.csv, line 3: '{wrong}' is no weight", "0 or more, such as 0.5"],
            )
            for wrong in ("-1", "nan", "inf", "much", "")
        ),
        *(
            (
                lines("cats.png,cat,1", f"more/dog 1.png,dog,{no}", header="path,label,certainty"),
                [f"labels.csv, line 3: '{no}' is no certainty", "over 0 and at most 1"],
            )
            for no in ("0", "1.5", "-1", "nan", "sure", "")
        ),
        (
            lines("cats.png,cat,0", "more/dog 1.png,dog,0", header="path,label,weight"),
            ["every weight is 0"],
        ),
        (
            lines("cats.png,cat,1", "cats.png,cat,2", header="path,label,weight"),
            ["line 2 and labels.csv, line 3: cats.png has weight 1.0 and 2.0"],
        ),
        (
            lines("cats.png,cat,1", "cats.png,cat,0.5", header="path,label,certainty"),
            ["line 2 and labels.csv, line 3: cats.png has certainty 1.0 and 0.5"],
        ),
        (lines("cats.png,Cat", "more/dog 1.png,cat"), ["'Cat' (labels.csv, line 2)", "line 3"]),
        (lines("cats.png,cat", "more/dog 1.png,cat "), ["'cat '", "differ by spaces"]),
        (
            lines('cats.png,"a\nb"', "more/dog 1.png,c"),
            ["a\\nb' (labels.csv, line 3) has a control character"],
        ),
        (lines("cats.png," + "x" * 201, "more/dog 1.png,c"), ["has 201 characters"]),
        (lines("cats.png,cat", "more/dog 1.png,cat"), ["only one class, 'cat'"]),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused_by_its_line(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    said = refusal(table(tmp_path, text))
    assert all(word in said for word in words), said


def bytes_as_text(*contents: bytes) -> pa.Array:
    """A column of strings, whatever their bytes."""
    plain = pa.array(contents, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(plain), plain.buffers())


@pytest.mark.parametrize(
    "column",
    [
        bytes_as_text(b"K\xe4tzchen", b"dog"),
        pa.array([b"\xff\xfe", b"\xfd\xfc"], pa.binary(2)),
        pa.array([bytes(15) + b"\xe4"] * 2, pa.uuid()),
    ],
)
def test_a_column_of_bytes_that_are_no_text_is_named(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"path": PETS, "label": column}), photos(tmp_path, PETS) / "l.parquet")
    assert "l.parquet: the column 'label' holds bytes that are no UTF-8" in refusal(
        tmp_path, "l.parquet"
    )


def test_columns_of_one_name_are_refused_in_parquet_too(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(PETS)] * 3, ["path", "label", "label"])
    pq.write_table(twice, tmp_path / "l.parquet")
    assert "l.parquet has several columns called 'label'" in refusal(tmp_path, "l.parquet")


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (
            "path,label\na,b\nc,Kätzchen\n".encode("latin-1"),
            "l.csv",
            ["line 3 is not UTF-8 (byte 0xe4)"],
        ),
        (b'{"path": 1\n', "l.jsonl", ["line 1 is not JSON"]),
        (b"\n[1]\n", "l.jsonl", ["line 2 is no JSON object"]),
        (b"PAR1", "l.parquet", ["l.parquet is no whole Parquet file"]),
        (b"[]", "l.json", ["l.json is no table", "`imagetrail import`"]),
        (b"PK", "l.xlsx", ["l.xlsx is no table, whose name ends with .csv"]),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, content: bytes, name: str, words: list[str]
) -> None:
    said = refusal(table(tmp_path, content, name), name)
    assert all(word in said for word in words), said


def test_a_table_that_is_not_there_is_one_line_with_the_likely_one(tmp_path: Path) -> None:
    assert "there is no label.csv; did you mean 'labels.csv'?" in refusal(
        table(tmp_path, GOOD), "label.csv"
    )


# ---- files ----


@pytest.mark.parametrize(
    "path", ["more\\dog 1.png", ".\\more\\dog 1.png", "./more/dog 1.png", "more//dog 1.png"]
)
def test_a_path_may_be_written_as_on_windows(tmp_path: Path, path: str) -> None:
    assert read(table(tmp_path, lines("cats.png,cat", f"{path},dog"))).sources == PETS


def test_an_absolute_path_inside_the_source_is_taken(tmp_path: Path) -> None:
    text = lines("cats.png,cat", f"{tmp_path}/more/dog 1.png,dog")
    assert read(table(tmp_path, text)).sources == PETS


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/elsewhere/1.png", "line 3: /elsewhere/1.png is not in the source"),
        ("C:\\pets\\1.png", "line 3: C:\\pets\\1.png is not in the source"),
        ("..\\pets\\1.png", "leads out with .."),
        ("more/../cats.png", "leads out with .."),
        ("https://host/1.png", "is an address; put the file beside the table"),
        ('"a\nb.png"', "a\\nb.png: the path has a control character"),
    ],
)
def test_a_path_that_leads_out_of_the_source_is_refused_by_its_line(
    tmp_path: Path, path: str, words: str
) -> None:
    assert words in refusal(table(tmp_path, lines("cats.png,cat", f"{path},dog")))


def test_paths_count_from_the_tables_folder_or_from_the_top(tmp_path: Path) -> None:
    beside = table(tmp_path / "beside", lines("1.png,cat", "2.png,dog"), "meta/labels.csv")
    photos(beside, ["meta/1.png", "meta/2.png"])
    assert read(beside, "meta/labels.csv").sources == ("meta/1.png", "meta/2.png")
    assert read(table(tmp_path / "top", GOOD, "meta/labels.csv"), "meta/labels.csv").sources == PETS


def test_a_mac_and_a_table_may_write_a_name_in_two_unicode_forms(tmp_path: Path) -> None:
    photo(tmp_path / "cafe\u0301.png")
    text = lines("caf\u00e9.png,cafe", "cats.png,cat")
    assert read(table(tmp_path, text)).sources == ("cafe\u0301.png", "cats.png")


def test_a_missing_file_is_named_with_its_line_and_is_unreadable(tmp_path: Path) -> None:
    found = read(table(tmp_path, GOOD + "gone.png,cat\n"))
    assert found.notes == ("1 of 3 files of the table are missing: gone.png (labels.csv, line 4)",)
    _, _, gone = found.examined(range(3), TARGET)
    assert isinstance(gone, Unreadable) and str(gone) == "no such file"


def test_a_table_none_of_whose_files_is_there_is_refused(tmp_path: Path) -> None:
    said = refusal(table(tmp_path, lines("x/1.png,cat", "x/2.png,dog")))
    assert "none of the 2 files of the table is there: x/1.png (labels.csv, line 2)" in said


def test_files_that_the_table_does_not_name_are_ignored_and_listed(tmp_path: Path) -> None:
    photos(tmp_path, ["other.png", ".hidden.png"])
    assert read(table(tmp_path, GOOD)).ignored == (("other.png", "not in the table"),)


def test_a_picture_named_twice_counts_once_unless_the_rows_differ(tmp_path: Path) -> None:
    found = read(table(tmp_path, GOOD + ".\\cats.png,cat\n"))
    assert found.sources == PETS and found.notes == (
        "1 row(s) name a picture again, with the same label",
    )
    said = refusal(table(tmp_path, GOOD + "cats.png,dog\n"))
    assert "labels.csv, line 2 and labels.csv, line 4: cats.png has label 'cat' and 'dog'" in said


# ---- pictures inside ----


def grey(found: Pictures, i: int) -> int:
    return int(found.read(i, Target((8, 8, 1)))[0][0, 0, 0])


def test_shards_of_the_hub_are_read_with_the_split_in_their_names(tmp_path: Path) -> None:
    hub(tmp_path / "data/train-00000-of-00002.parquet", range(100), [0, 1] * 50)
    hub(tmp_path / "data/train-00001-of-00002.parquet", range(100, 120), [0, 1] * 10)
    hub(tmp_path / "data/validation-00000-of-00001.parquet", range(120, 130), [1] * 10)
    found = read(tmp_path, "data/*.parquet")
    assert found.classes == ("a/b", "true") and len(found) == 130
    assert found.splits == ("train",) * 120 + ("valid",) * 10
    assert found.sources[101] == "data/train-00001-of-00002.parquet#1"
    assert found.columns == {"age": ["1"] * 130}
    assert [grey(found, i) for i in (129, 0, 49, 50, 119, 3)] == [129, 0, 49, 50, 119, 3]
    read_in_order = [int(one[0][0, 0, 0]) for one in found.examined(range(130), TARGET)]  # type: ignore[index]
    assert read_in_order == list(range(130))


def test_a_single_parquet_file_is_a_data_set_of_its_own(tmp_path: Path) -> None:
    found = own.read(hub(tmp_path / "pets.parquet", [5, 6], [0, 2]), None, "pets.parquet")
    assert found.sources == ("pets.parquet#0", "pets.parquet#1") and grey(found, 1) == 6


def test_bytes_and_plain_names_need_no_metadata(tmp_path: Path) -> None:
    columns = {"img": [png(1), png(2), None], "target": ["x", "y", "y"], "path": ["1", "2", "3"]}
    pq.write_table(pa.table(columns), tmp_path / "pets.parquet")
    found = own.read(tmp_path / "pets.parquet", None, "pets.parquet")
    assert found.classes == ("x", "y") and found.columns == {"path": ["1", "2", "3"]}
    (*_, none) = found.examined(range(3), TARGET)
    assert isinstance(none, Unreadable) and "no picture in this row" in str(none)


def test_an_unlabelled_row_of_the_hub_is_named(tmp_path: Path) -> None:
    hub(tmp_path / "test.parquet", [1, 2, 3], [0, 1, -1])
    assert "test.parquet, row 2: 'label' is empty" in refusal(tmp_path, "test.parquet")


def test_pictures_in_one_large_group_of_rows_are_kept_in_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MANY", 4)
    monkeypatch.setattr(parquet, "KEPT", 3)
    path = hub(tmp_path / "a.parquet", range(100), [0, 1] * 50, rows=100)
    inside = parquet.Pictures([(path, "image")])
    order = [*range(100), 99, 0, 50, 49, 51]
    assert [inside.content(row) == png(row) for row in order] == [True] * len(order)
    assert len(inside._kept) == 3


def test_a_parquet_file_that_only_names_pictures_wants_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(written(ROWS, "a.parquet"))
    with pytest.raises(UserError, match="name its folder in data.path, and the file in data.table"):
        own.read(tmp_path / "a.parquet", None, "a.parquet")


def test_past_a_damaged_page_every_row_is_unreadable_and_those_before_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MANY", 4)
    monkeypatch.setattr(parquet, "KEPT", 3)
    path, contents = tmp_path / "a.parquet", [png(number) for number in range(40)]
    columns = {"image": contents, "label": ["a", "b"] * 20}
    options = {"use_dictionary": False, "compression": "NONE", "write_page_checksum": True}
    pq.write_table(pa.table(columns), path, **options, write_batch_size=4, data_page_size=64)
    raw = bytearray(path.read_bytes())
    raw[raw.index(contents[20]) - 60 : raw.index(contents[20])] = b"\xff" * 60
    path.write_bytes(raw)
    found = own.read(path, None, "a.parquet")
    for order in (range(40), reversed(range(40))):
        for row in order:
            (one,) = found.examined([row], TARGET)
            assert isinstance(one, Unreadable) == (row >= 20), row
            if isinstance(one, Unreadable):
                assert str(one).startswith("damaged (") and "\n" not in str(one)


def test_a_parquet_file_with_fewer_rows_than_it_says_is_no_whole_one(tmp_path: Path) -> None:
    path = hub(tmp_path / "a.parquet", range(77), [0] * 77, rows=77)
    raw = bytearray(path.read_bytes())
    end = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")  # where it says what the rest is
    said = b"\x9a\x01"  # 77, as it stands there: of the file first, of its one group last
    for at in (raw.index(said, end), raw.rindex(said)):
        raw[at] += 2
        path.write_bytes(raw)
        assert "a.parquet is no whole Parquet file (rows: 78, in groups 7" in refusal(
            tmp_path, "a.parquet"
        )
    inside = parquet.Pictures([(path, "image")])
    assert inside.content(76) == png(76)
    with pytest.raises(Unreadable, match="the file ends before this row"):
        inside.content(77)


def test_a_parquet_file_with_any_bytes_changed_is_read_or_refused_in_a_line(tmp_path: Path) -> None:
    path = hub(tmp_path / "a.parquet", range(8), [0, 1] * 4, rows=4)
    whole, rng = np.frombuffer(path.read_bytes(), np.uint8), np.random.default_rng(0)
    for start in (0, len(whole) // 2) * 150:  # its end says what the rest is
        changed = whole.copy()
        changed[rng.integers(start, len(whole), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(changed.tobytes())
        try:
            found = own.read(path, None, "a.parquet")
            read_or_not = found.examined(range(len(found)), TARGET)
            said = [str(one) for one in read_or_not if isinstance(one, Unreadable)]
        except UserError as error:
            said = [str(error)]
        assert all(reason.isprintable() for reason in said), said
