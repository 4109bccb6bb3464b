"""Decoded pictures that are kept: the same with and without, whatever happens to what is kept."""

import errno
import gc
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grimp
import numpy as np
import pytest
from PIL import Image
from project import ROOT, wait_for

from imagetrail.data import decoding, shards, store
from imagetrail.data.decoding import Target, Unreadable
from imagetrail.data.pictures import Examined, Pictures, in_memory
from imagetrail.data.shards import Shards

TARGET = Target((16, 16, 3))
COUNT = 30


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures of every size, of which one is damaged; they need not settle."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "SETTLED", 0.0)
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        size = (rng.integers(8, 64), rng.integers(8, 64), 3)
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(path)
    (tmp_path / "7.png").write_bytes(b"no picture")
    return tmp_path


class Source:
    """The pictures in the folder, decoded anew each time, which is counted."""

    def __init__(self, *names: str) -> None:
        self.paths = [Path(name) for name in names or [f"{i}.png" for i in range(COUNT)]]
        self.decoded = 0

    def pictures(self, *, inside: bool = False) -> Pictures:
        """inside: the content is bytes, as in a table that holds the pictures themselves."""
        some = len(self.paths)
        return Pictures(
            ("a", "b"),
            np.zeros(some, np.int64),
            ("",) * some,
            tuple(map(str, self.paths)),
            self.read,
            content=lambda i: self.paths[i].read_bytes() if inside else self.paths[i],
        )

    def read(self, i: int, target: Target) -> Examined:
        self.decoded += 1
        return decoding.read(self.paths[i], target)


def seen(some: Pictures, target: Target = TARGET) -> list[object]:
    """All that can be told of the pictures, in order."""
    found = some.examined(range(len(some)), target)
    return [
        str(one) if isinstance(one, Unreadable) else (one[0].tobytes(), one[0].shape, one[1])
        for one in found
    ]


def plain(*names: str) -> list[object]:
    return seen(Source(*names).pictures())


def through_the_store(source: Source, target: Target = TARGET) -> list[object]:
    return seen(store.kept(source.pictures(), target), target)


def end_process() -> None:
    """What it held is let go of: a reason has its traceback, and that has the store."""
    gc.collect()


def files(kind: str) -> list[Path]:
    return sorted(store.FOLDER.glob(f"*/*.{kind}"))


def size() -> int:
    return sum(path.stat().st_size for path in files("rows"))


# ---- what it is for ----


def test_pictures_are_the_same_with_the_store_and_each_is_decoded_once() -> None:
    first, second = Source(), Source()
    assert through_the_store(first) == plain() and first.decoded == COUNT
    assert through_the_store(second) == plain() and second.decoded == 0
    assert isinstance(plain()[7], str)


def test_what_is_asked_for_twice_in_a_process_is_decoded_once() -> None:
    source = Source()
    some = store.kept(source.pictures(), TARGET)
    assert seen(some) == seen(some) and source.decoded == COUNT


def test_only_new_pictures_are_decoded() -> None:
    through_the_store(Source(*(f"{i}.png" for i in range(COUNT - 2))))
    more = Source()
    assert through_the_store(more) == plain() and more.decoded == 2


def test_a_file_that_moves_or_is_copied_is_read_but_not_decoded() -> None:
    through_the_store(Source())
    Path("3.png").rename("moved.png")
    Path("copied.png").write_bytes(Path("4.png").read_bytes())
    source = Source("moved.png", "copied.png")
    assert through_the_store(source) == plain("moved.png", "copied.png") and source.decoded == 0


def test_a_file_that_has_not_changed_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    through_the_store(Source())
    before, opened = plain(), Path.open

    def refuse(path: Path, *how: object, **more: object) -> object:
        assert path.suffix != ".png"
        return opened(path, *how, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    assert through_the_store(Source()) == before


def test_a_file_with_other_content_of_the_same_size_and_time_is_decoded_anew() -> None:
    through_the_store(Source("0.png"))
    kept, turned = Path("0.png").stat(), bytearray(Path("0.png").read_bytes())
    turned[-20] ^= 0xFF
    with Path("0.png").open("r+b") as file:
        file.write(turned)
    os.utime("0.png", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    source = Source("0.png")
    assert through_the_store(source) == plain("0.png") and source.decoded == 1


def test_a_file_that_has_just_changed_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SETTLED", 60.0)
    assert through_the_store(Source()) == plain()
    assert not files("rows")


def test_a_file_that_changes_while_it_is_decoded_is_not_kept() -> None:
    source = Source("0.png")
    some = source.pictures()

    def read(i: int, target: Target) -> Examined:
        found = source.read(i, target)
        source.paths[i].write_bytes(Path("1.png").read_bytes())
        return found

    before = plain("0.png")
    assert seen(store.kept(replace(some, read=read), TARGET)) == before
    assert through_the_store(Source("0.png")) == plain("1.png") != before


def test_a_picture_in_a_table_is_known_by_its_bytes() -> None:
    first, second = Source(), Source()
    assert seen(store.kept(first.pictures(inside=True), TARGET)) == plain()
    assert seen(store.kept(second.pictures(inside=True), TARGET)) == plain()
    assert (first.decoded, second.decoded) == (COUNT, 0)
    third = Source()
    assert through_the_store(third) == plain() and third.decoded == 0


def test_pictures_whose_pixels_are_at_hand_are_not_kept() -> None:
    images = np.zeros((2, 8, 8), np.uint8)
    some = in_memory("ab", images, np.zeros(2), ["", ""], ["0", "1"])
    assert store.kept(some, TARGET) is some


def test_another_target_is_another_picture() -> None:
    through_the_store(Source())
    other = Target((16, 16, 1))
    assert through_the_store(Source(), other) == seen(Source().pictures(), other) != plain()


def test_a_missing_file_has_its_reason_and_is_there_when_it_is_back() -> None:
    content = Path("0.png").read_bytes()
    Path("0.png").unlink()
    assert through_the_store(Source("0.png")) == ["no such file or directory"]
    Path("0.png").write_bytes(content)
    assert through_the_store(Source("0.png")) == plain("0.png")


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "broken disk")])
def test_what_the_machine_is_to_blame_for_is_tried_again(error: Exception) -> None:
    source = Source("0.png")

    def fail(_: int, __: Target) -> Examined:
        try:
            raise error
        except (MemoryError, OSError):
            raise Unreadable("for now") from None

    failing = replace(source.pictures(), read=fail)
    assert seen(store.kept(failing, TARGET)) == ["for now"]
    assert through_the_store(source) == plain("0.png")


def test_large_pictures_that_wait_to_be_taken_are_few() -> None:
    target, asked = Target((512, 512, 3)), iter(range(200))
    next(Source(*["0.png"] * 200).pictures().examined(asked, target))
    assert next(asked) * math.prod(target.shape) <= 64 << 20


def test_all_code_that_decodes_is_part_of_the_stores_name() -> None:
    graph = grimp.build_graph("imagetrail", cache_dir=None)
    code = graph.find_upstream_modules("imagetrail.data.decoding") | {"imagetrail.data.decoding"}
    decoders = {module.__name__ for module in store.DECODER}
    assert {name for name in code if name.startswith("imagetrail.data.")} == decoders


# ---- what may befall it ----


@pytest.mark.parametrize("kind", ["rows", "index"])
def test_a_shard_cut_anywhere_gives_the_same_pictures(kind: str) -> None:
    through_the_store(Source())
    (path,) = files(kind)
    whole, expected = path.read_bytes(), plain()
    for size in np.linspace(0, len(whole) - 1, 25, dtype=int):
        path.write_bytes(whole[:size])
        source = Source()
        assert through_the_store(source) == expected
        assert source.decoded > 0
        for more in set(files("*")) - {path, path.with_suffix(".rows"), path.with_suffix(".index")}:
            more.unlink()


@pytest.mark.parametrize("kind", ["rows", "index"])
def test_a_flipped_byte_gives_no_wrong_picture_and_is_mended(kind: str) -> None:
    through_the_store(Source())
    expected = plain()
    for number in range(40):
        path = files(kind)[0]
        content = bytearray(path.read_bytes())
        content[len(content) * number // 40] ^= 0x10
        path.write_bytes(content)
        assert through_the_store(Source()) == expected
    source = Source()
    assert through_the_store(source) == expected and source.decoded == 0


DECODES = """
import time
from test_store import Source, TARGET, seen
from imagetrail.data import store

class Slow(Source):
    def read(self, i, target):
        time.sleep(0.1)
        return super().read(i, target)

store.SETTLED = 0.0
source = Slow()
some = store.kept(source.pictures(), TARGET)
print("ready", flush=True)
input()
seen(some)
print(source.decoded)
"""


def start() -> subprocess.Popen[str]:
    """A process that decodes as soon as it is told to."""
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT / "tests/support"), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", DECODES],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def test_killed_again_and_again_it_goes_on_where_it_was() -> None:
    """The process is killed as soon as the store has grown, at whatever it then does."""
    for _ in range(3):
        before, process = size(), start()
        go(process)
        wait_for(lambda: size() > before, process)  # noqa: B023  it is called at once
        process.send_signal(signal.SIGKILL)
        process.communicate()
    source = Source()
    assert through_the_store(source) == plain() and 0 < source.decoded < COUNT


def test_two_processes_at_once_leave_a_whole_store() -> None:
    both = [start(), start()]
    for process in both:
        go(process)
    assert [int(process.communicate()[0]) for process in both] == [COUNT, COUNT]
    source = Source()
    assert through_the_store(source) == plain() and source.decoded == 0


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """No file may become longer than so many bytes: a write then fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 10, 500, 3000, 9000])
def test_on_a_full_disk_pictures_are_decoded_and_one_line_says_so(
    small_disk: Callable[[int], None], capsys: pytest.CaptureFixture[str], size: int
) -> None:
    expected = plain()
    small_disk(size)
    found = through_the_store(Source())
    small_disk(resource.RLIM_INFINITY)
    assert found == expected
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(str(store.FOLDER)) and line.endswith("decoded without being kept")
    assert through_the_store(Source()) == expected


def test_where_nothing_can_be_kept_pictures_are_decoded(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".imagetrail").write_text("a file, where a folder should be")
    assert through_the_store(Source()) == plain()
    assert "decoded without being kept" in capsys.readouterr().out


# ---- what is no longer wanted ----


def test_tidied_it_has_the_pictures_that_were_read_and_no_others() -> None:
    through_the_store(Source())
    end_process()
    before = size()
    few = Source("0.png", "1.png", "7.png")
    some = store.kept(few.pictures(), TARGET)
    seen(some)
    some.tidy()
    assert size() < before / 5 and few.decoded == 0
    again = Source("0.png", "1.png", "7.png")
    assert through_the_store(again) == plain("0.png", "1.png", "7.png") and again.decoded == 0


def test_tidied_it_has_one_target(tmp_path: Path) -> None:
    through_the_store(Source(), Target((8, 8, 1)))
    end_process()
    some = store.kept(Source().pictures(), TARGET)
    seen(some)
    (tmp_path / store.FOLDER / "note").touch()
    some.tidy()
    (kept,) = (path for path in (tmp_path / store.FOLDER).iterdir() if path.is_dir())
    assert list(kept.glob("*.rows"))
    source = Source()
    assert through_the_store(source) == plain() and source.decoded == 0


def test_shards_are_bounded_and_what_many_runs_leave_becomes_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "LIMIT", 1000)
    rng = np.random.default_rng(0)
    rows = {rng.bytes(16): rng.bytes(100) for _ in range(100)}
    for part in range(25):
        some = Shards(tmp_path / "kept")
        for key in list(rows)[4 * part : 4 * part + 4]:
            some.add(key, rows[key])
    del some
    kept = Shards(tmp_path / "kept")
    assert all(kept.get(key) == row for key, row in rows.items())
    kept.tidy()
    left = list((tmp_path / "kept").glob("*.rows"))
    assert sum(path.stat().st_size for path in left) == 10_000
    assert max(path.stat().st_size for path in left) <= 1000 and len(left) == 10
    again = Shards(tmp_path / "kept")
    assert all(again.get(key) == row for key, row in rows.items())


def test_more_rows_than_wait_at_once_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MERGED", 8)
    some = Shards(tmp_path / "kept")
    keys = [np.random.default_rng(number).bytes(16) for number in range(50)]
    for key in keys:
        some.add(key, key * 2)
    assert all(some.get(key) == key * 2 for key in keys) and some.get(bytes(16)) is None


def test_what_another_process_reads_is_not_tidied(tmp_path: Path) -> None:
    Shards(tmp_path / "kept").add(b"k" * 16, b"row")
    one, other = Shards(tmp_path / "kept"), Shards(tmp_path / "kept")
    one.tidy()
    assert other.get(b"k" * 16) == b"row"
    del other
    one.tidy()
    assert Shards(tmp_path / "kept").get(b"k" * 16) is None
