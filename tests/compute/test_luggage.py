"""Files on their way to another machine: whole, once, and gone when nobody wants them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagetrail.base.errors import UserError
from imagetrail.compute import luggage
from imagetrail.compute.luggage import Content

# A process that works with a file `a` of this text, until it is told to end.
OTHER = """
from pathlib import Path
from imagetrail.compute import luggage
Path("a").write_text("others")
luggage.desk({Path("a"): luggage.packed(Path("a"), lambda piece: piece)}, lambda piece: piece)
print("there", flush=True)
input()
"""


def packed(path: Path) -> Content:
    return luggage.packed(path, lambda piece: piece)


def fetch(piece: bytes) -> bytes:
    return piece


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, in a process that has asked for nothing yet."""
    for known in ("_DESKS", "_HELD"):
        monkeypatch.setattr(luggage, known, {})
    monkeypatch.setenv("IMAGETRAIL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "cache"


@pytest.fixture
def other(cache: Path) -> Iterator["subprocess.Popen[bytes]"]:  # noqa: ARG001  it is set first
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", OTHER], stdin=pipe, stdout=pipe) as process:
        assert process.stdout and process.stdout.readline() == b"there\n"
        yield process
        process.kill()


def test_files_of_many_pieces_and_empty_folders_arrive_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(luggage, "PIECE", 10)
    for path, text in (("many", "0123456789" * 3 + "x"), ("in/deep/er", "b"), ("in/none", "")):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    Path("empty").mkdir()
    contents = {Path(name): packed(Path(name)) for name in ("many", "in", "empty")}
    assert [len(piece) for piece in contents[Path("many")].pieces["."]] == [10, 10, 10, 1]
    desk = luggage.desk(contents, fetch)
    assert (desk / "many").read_text() == Path("many").read_text()
    assert (desk / "in/deep/er").read_text() == "b" and (desk / "in/none").read_text() == ""
    assert [*(desk / "empty").iterdir()] == []
    assert luggage.desk(contents, fetch) == desk


def test_content_of_equal_bytes_is_fetched_once_whatever_its_names() -> None:
    fetched: list[bytes] = []
    for name in ("a", "b"):
        Path(name).write_text("the same")

    def get(piece: bytes) -> bytes:
        fetched.append(piece)
        return piece

    for name in ("a", "b"):
        assert (luggage.desk({Path(name): packed(Path(name))}, get) / name).read_text()
    assert fetched == [b"the same"]


@pytest.mark.usefixtures("other")
@pytest.mark.timeout(60)
def test_processes_of_one_machine_have_the_same_content_at_once() -> None:
    Path("a").write_text("others")
    fetched: list[bytes] = []
    desk = luggage.desk(
        {Path("a"): packed(Path("a"))}, lambda piece: fetched.append(piece) or piece
    )
    assert (desk / "a").read_text() == "others" and fetched == []


def test_what_changed_while_it_was_read_is_refused() -> None:
    Path("a").write_text("one")
    content = packed(Path("a"))
    with pytest.raises(UserError, match="content is not what was sent: it changed here, or while"):
        luggage.desk({Path("a"): content}, lambda _: b"two")


def test_what_nobody_has_used_for_a_day_goes_and_what_somebody_uses_stays(
    cache: Path, other: "subprocess.Popen[bytes]"
) -> None:
    (used,) = (entry for entry in cache.iterdir() if not entry.name.startswith(luggage.DESK))
    (cache / "old").mkdir()
    (cache / "new").mkdir()
    for entry in (used, cache / "old"):
        os.utime(entry, (0, 0))
    Path("b").write_text("mine")
    luggage.desk({Path("b"): packed(Path("b"))}, fetch)
    assert used.exists() and (cache / "new").exists() and not (cache / "old").exists()
    assert len([*cache.glob(f"{luggage.DESK}*")]) == 2
    other.kill()
    other.wait()
    Path("c").write_text("more")
    luggage.desk({Path("c"): packed(Path("c"))}, fetch)
    assert not used.exists()
    assert len([*cache.glob(f"{luggage.DESK}*")]) == 2  # both of this process


def test_state_is_brought_back_in_the_order_in_which_it_was_written() -> None:
    for number, name in enumerate(("b", "a")):
        (Path("state") / name).parent.mkdir(exist_ok=True)
        (Path("state") / name).write_text(name)
        os.utime(Path("state") / name, ns=(number, number))
    kept = luggage.state(Path("state"))
    assert [*kept.items()] == [("b", (b"b", 0)), ("a", (b"a", 1))]
    (Path("state") / "c").write_text("later")
    luggage.restore(Path("state"), kept)
    assert luggage.state(Path("state")) == kept
    luggage.restore(Path("state"), {})
    assert luggage.state(Path("state")) == {} == luggage.state(Path("missing"))
