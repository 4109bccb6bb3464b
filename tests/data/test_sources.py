import gzip
import hashlib
import sys
from pathlib import Path

import pytest

from imagetrail.base.errors import UserError
from imagetrail.data import sources
from imagetrail.data.sources import File, Unavailable, fetch

CONTENT = b"pixels " * 1000
OTHER = b"labels " * 1000
FILE = File("images", hashlib.sha256(CONTENT).hexdigest())
SECOND = File("labels", hashlib.sha256(OTHER).hexdigest())


@pytest.fixture(autouse=True)
def no_mirror_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sources.LOCAL, raising=False)


def mirror(folder: Path, **files: bytes) -> str:
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_gz", ".gz")).write_bytes(content)
    return f"file:{folder}/{{file}}"


@pytest.mark.parametrize("served", [CONTENT, gzip.compress(CONTENT)], ids=["plain", "gz"])
def test_the_right_content_is_accepted_in_either_wrapping(tmp_path: Path, served: bytes) -> None:
    uri = mirror(tmp_path / "m", images=served)
    found = fetch([FILE], [uri], tmp_path / "raw")
    assert (tmp_path / "raw" / "images").read_bytes() == CONTENT
    assert found == {
        "tried": [],
        "used": {"images": uri.replace("{file}", "images")},
        "files": [{"name": "images", "sha256": FILE.sha256, "bytes": len(CONTENT)}],
    }


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        (b"\n <!DOCTYPE html><p>please log in", "sent a web page in place of images"),
        (b"<html><p>404", "sent a web page in place of images"),
        (gzip.compress(CONTENT)[:-9], "images is truncated or damaged"),
        (gzip.compress(CONTENT)[:12] + b"\xff" * 40, "images is truncated or damaged"),
        (gzip.compress(CONTENT)[:-8] + b"\x00" * 8, "images is truncated or damaged"),
        (CONTENT[:-1], f"not {FILE.sha256}: refused"),
        (gzip.compress(OTHER), f"images has sha256 {SECOND.sha256}, not {FILE.sha256}: refused"),
        (b"", f"not {FILE.sha256}: refused"),
    ],
    ids=[
        "html",
        "html without doctype",
        "cut gz",
        "bad gz",
        "gz of wrong crc",
        "cut",
        "other content",
        "empty",
    ],
)
def test_wrong_content_is_refused_with_its_reason_and_leaves_nothing(
    tmp_path: Path, served: bytes, reason: str
) -> None:
    with pytest.raises(UserError) as caught:
        fetch([FILE], [mirror(tmp_path / "m", images=served)], tmp_path / "raw")
    assert reason in str(caught.value)
    assert not list(tmp_path.glob("raw/*"))


def test_refused_content_does_not_touch_a_good_file_already_there(tmp_path: Path) -> None:
    fetch([FILE], [mirror(tmp_path / "good", images=CONTENT)], tmp_path / "raw")
    with pytest.raises(UserError):
        fetch([FILE], [mirror(tmp_path / "bad", images=OTHER)], tmp_path / "raw")
    assert (tmp_path / "raw" / "images").read_bytes() == CONTENT


def test_the_next_mirror_stands_in_and_both_are_told(tmp_path: Path) -> None:
    bad, good = mirror(tmp_path / "bad", images=OTHER), mirror(tmp_path / "good", images=CONTENT)
    found = fetch([FILE], [bad, good], tmp_path / "raw")
    assert [attempt["uri"] for attempt in found["tried"]] == [bad]
    assert found["used"] == {"images": good.replace("{file}", "images")}


def test_files_may_come_from_different_mirrors(tmp_path: Path) -> None:
    one, two = mirror(tmp_path / "one", images=CONTENT), mirror(tmp_path / "two", labels=OTHER)
    found = fetch([FILE, SECOND], [one, two], tmp_path / "raw")
    assert found["used"] == {
        "images": one.replace("{file}", "images"),
        "labels": two.replace("{file}", "labels"),
    }


def test_a_local_folder_may_hold_some_files_compressed_and_some_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror(tmp_path / "mine", images_gz=gzip.compress(CONTENT), labels=OTHER)
    monkeypatch.setenv(sources.LOCAL, str(tmp_path / "mine"))
    fetch([FILE, SECOND], [], tmp_path / "raw")
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {"images", "labels"}


@pytest.mark.parametrize("name", ["images", "images_gz"])
def test_a_local_folder_comes_before_every_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    mirror(tmp_path / "mine", **{name: CONTENT if name == "images" else gzip.compress(CONTENT)})
    monkeypatch.setenv(sources.LOCAL, str(tmp_path / "mine"))
    found = fetch([FILE], [mirror(tmp_path / "official", images=CONTENT)], tmp_path / "raw")
    assert found["used"]["images"] == f"file:{tmp_path}/mine/images"


def test_without_any_mirror_the_error_names_each_with_its_reason_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    mirrors = [
        "https://127.0.0.1:1/{file}.gz",
        f"file:{tmp_path}/nowhere/{{file}}",
        "python:sklearn.datasets.data/{file}",
    ]
    with pytest.raises(UserError) as caught:
        fetch([FILE, SECOND], mirrors, tmp_path / "raw")
    first, *reasons, last = str(caught.value).splitlines()
    assert first == "no mirror has images, labels:"
    assert [reason.strip() for reason in reasons] == [
        f"{mirrors[0]}: no connection (ConnectionError)",
        f"{mirrors[1]}: there is no images in it",
        f"{mirrors[2]}: there is no images in it",
    ]
    assert "IMAGETRAIL_MIRROR=" in last


def test_only_the_missing_file_is_named_and_the_verified_one_is_kept(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^no mirror has labels:"):
        fetch([FILE, SECOND], [mirror(tmp_path / "m", images=CONTENT)], tmp_path / "raw")
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["images"]


def test_a_python_package_that_is_not_installed_counts_as_out_of_reach(tmp_path: Path) -> None:
    found = fetch(
        [FILE],
        ["python:no_such_package/{file}", mirror(tmp_path / "m", images=CONTENT)],
        tmp_path / "raw",
    )
    assert [attempt["uri"] for attempt in found["tried"]] == ["python:no_such_package/{file}"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["no-such-client"], "no-such-client is not installed"),
        (
            [sys.executable, "-c", "raise SystemExit('first\\nE: not found\\n')"],
            "failed: E: not found",
        ),
        ([sys.executable, "-c", "raise SystemExit(3)"], "failed: exit 3"),
    ],
)
def test_a_package_client_that_fails_says_why(
    tmp_path: Path, command: list[str], reason: str
) -> None:
    with pytest.raises(Unavailable, match=f"{reason}$"):
        sources._client(command, tmp_path)


def test_a_package_client_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CLIENT_TIMEOUT", 0.2)
    with pytest.raises(Unavailable, match=r"took over 0\.2 s"):
        sources._client([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
