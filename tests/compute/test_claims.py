"""A key is had by one process at a time, and by none that has ended."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagetrail.compute.claims import Claims

KEYS = [bytes([number]) * 16 for number in range(6)]
HOLD = """
import sys
from pathlib import Path
from imagetrail.compute.claims import Claims
keys = [bytes([number]) * 16 for number in range(6)]
with Claims(Path("some.claims")).some(keys, 2) as mine:
    print(len(mine), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the first two of the keys, until it reads a line."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD], cwd=folder, text=True, **pipes) as process:
        try:
            assert process.stdout.readline() == "2\n"
            yield process
        finally:
            process.kill()


def test_what_another_process_has_is_left_to_it(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "some.claims")
    with another(tmp_path), claims.some(KEYS, 3) as mine:
        assert mine == KEYS[2:5]


def test_where_others_have_all_the_first_to_be_free_is_waited_for(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "some.claims")
    with another(tmp_path) as process:
        process.stdin.write("\n")
        process.stdin.flush()
        with claims.some(KEYS[:2], 2) as mine:
            # what was free when it was asked for, else the first after a wait
            assert mine in (KEYS[:1], KEYS[1:2], KEYS[:2])


def test_a_process_that_was_killed_has_nothing(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "some.claims")
    with another(tmp_path) as process:
        process.kill()
        process.wait()
        with claims.some(KEYS, 9) as mine:
            assert mine == KEYS


def test_without_a_file_to_lock_whoever_asks_has_all(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    with Claims(tmp_path / "in the way" / "some.claims").some(KEYS, 4) as mine:
        assert mine == KEYS[:4]
    with Claims(tmp_path / "some.claims").some([], 4) as mine:
        assert mine == []
