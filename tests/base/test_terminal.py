"""What people see: names steer no terminal, a bar is drawn on one and nowhere else."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from imagetrail.base.terminal import clock, hand_over, progress, say, track
from imagetrail.base.words import printable

EVIL = "cat\x1b[2J\x1b]0;title\x07\r\u202e\x9b31m\udcff\n"
SEARCH = """
import time
from imagetrail.base.terminal import hand_over, progress, say
with progress("searching", 4, "trials") as bar:
    for number in range(4):
        time.sleep(0.3)
        say(f"trial {number} of a\\x1b[31mclass")
        bar.to(number + 1, "best \\x1b[31m93 %")
hand_over("row\\x1b[31m")
"""


def on_a_terminal(code: str, **environment: str) -> str:
    """What a program writes to a terminal of 160 columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 160, 0, 0))
    own = ("NO_COLOR", "COLUMNS")  # of whoever runs the tests
    given = {name: value for name, value in os.environ.items() if name not in own}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=its,
        stdout=its,
        stderr=its,
        env=given | {"TERM": "xterm-256color"} | environment,
    )
    os.close(its)
    found = b""
    try:
        while more := os.read(ours, 65536):
            found += more
    except OSError:  # so Linux says that the other end is closed
        pass
    assert process.wait() == 0
    os.close(ours)
    return found.decode()


def test_a_line_has_nothing_that_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL, "two")
    say(EVIL, error=True)
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first.isprintable() and first.startswith("cat\\x1b[2J") and second == "two"
    assert err.rstrip("\n").isprintable()
    assert printable("größe 猫 −0.5 %") == "größe 猫 −0.5 %"


def test_what_is_for_programs_is_theirs_to_the_byte(capsys: pytest.CaptureFixture[str]) -> None:
    hand_over("a\x1b[0m\tb")
    assert capsys.readouterr().out == "a\x1b[0m\tb\n"


def test_a_terminal_shows_how_far_it_is_how_fast_and_the_best_so_far() -> None:
    shown = on_a_terminal(SEARCH)
    assert "searching" in shown and "4/4" in shown and "trials/min" in shown and "left" in shown
    assert "best \\x1b[31m93 %" in shown and "\x1b[31m" not in shown and "row\\x1b" in shown
    assert all(f"trial {number} of a\\x1b[31mclass\r\n" in shown for number in range(4))


def test_no_color_is_obeyed() -> None:
    assert "\x1b[38;" in on_a_terminal(SEARCH)
    assert "\x1b[38;" not in on_a_terminal(SEARCH, NO_COLOR="1")


def test_in_a_pipe_there_are_lines_and_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", SEARCH], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        *(f"trial {number} of a\\x1b[31mclass" for number in range(4)),
        "row\x1b[31m",
    ]
    assert done.stderr == ""


def test_what_is_tracked_comes_whole_and_in_order() -> None:
    assert list(track(iter("abc"), 3, "reading", "letters")) == ["a", "b", "c"]


def test_a_bar_that_goes_on_counts_only_what_it_has_seen_for_its_pace() -> None:
    with progress("training", 10, "epochs", done=8) as bar:
        assert str(bar) == "8/10"
        bar.to(9, "note")
        assert str(bar).startswith("9/10  ") and str(bar).endswith("0:00 left  note")


def test_times_read_as_clocks_do() -> None:
    assert [clock(each) for each in (0.4, 42, 725, 10800)] == ["0:00", "0:42", "12:05", "3:00:00"]
