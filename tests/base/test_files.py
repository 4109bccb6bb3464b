"""Files that appear whole or not at all, and one line for those that are missing or damaged."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagetrail.base import files
from imagetrail.base.errors import UserError, damaged, missing
from imagetrail.base.words import count_of, without_secrets


def test_a_json_value_comes_back_as_written(tmp_path: Path) -> None:
    value = {"name": "été", "parts": [1, 0.1, None, True]}
    files.write_json(tmp_path / "deep" / "a.json", value)
    assert files.read_json(tmp_path / "deep" / "a.json") == value


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"a": 1}}', b"\xff\xfe", b"version https://git-lfs"]
)
def test_a_damaged_json_file_is_one_line_that_names_it_and_the_way_out(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        files.read_json(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is damaged (") and "dvc checkout" in message
    assert "\n" not in message


def test_a_damaged_file_that_git_keeps_has_a_remedy_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"is damaged \(.*\); ask git$"):
        files.read_json(tmp_path / "a.json", remedy="ask git")


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [(1, "picture", "1 picture"), (0, "class", "0 classes"), (1000, "more row", "1,000 more rows")],
)
def test_a_count_is_said_as_a_sentence_has_it(number: int, noun: str, words: str) -> None:
    assert count_of(number, noun) == words


@pytest.mark.parametrize("user", ["ada:secret", "secret", "ada:s%40cret", ":secret"])
def test_what_is_said_has_no_secret_of_an_address(user: str) -> None:
    said = f"MLflow at https://{user}@host:5000/a@b cannot be reached, nor s3://bucket/a"
    shown = "MLflow at https://host:5000/a@b cannot be reached, nor s3://bucket/a"
    assert without_secrets(said) == shown and without_secrets(shown) == shown


@pytest.mark.parametrize("read", [files.read_json, files.read_csv])
def test_a_missing_file_is_one_line_that_names_it_and_the_way_out(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path / "a")
    assert str(caught.value) == str(missing(tmp_path / "a"))
    assert str(caught.value).startswith(f"{tmp_path / 'a'} is missing; run `dvc repro`")


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        (ValueError("no header\nat all"), "no header"),
        ("5 images but 4 in its index", "5 images but 4 in its index"),
        (EOFError(), "EOFError"),
    ],
)
def test_of_a_long_reason_the_first_line_is_shown_and_of_none_its_kind(
    why: object, reason: str
) -> None:
    assert str(damaged("a.npy", why)).startswith(f"a.npy is damaged ({reason}); remove it")


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


@pytest.mark.parametrize("read", [files.read_json, files.read_csv])
def test_a_pipe_is_refused_and_not_waited_for(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is a pipe, socket or device; a file is wanted"):
        read(tmp_path / "pipe")
