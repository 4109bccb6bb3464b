"""A dvc.lock that a kill has torn is put back by the next command, whatever is left of it."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # noqa: TID251  what DVC takes, and what it refuses
from dvc.utils.serialize import parse_yaml  # noqa: TID251
from project import ROOT
from workshop import Workshop

from imagetrail.base import pipeline
from imagetrail.base.errors import UserError
from imagetrail.release import lock_files

LOCK, COPY = lock_files.LOCK, lock_files.COPY


def dvc_takes(text: str) -> bool:
    try:
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, "dvc.lock"))
    except Exception:  # noqa: BLE001  whatever DVC says
        return False
    return True


def test_what_dvc_refuses_is_torn_and_what_it_takes_is_whole() -> None:
    text = (ROOT / "dvc.lock").read_text()[:900]
    places = np.random.default_rng(0).integers(len(text), size=60)
    for place in [0, 1, 14, 15, 16, *places]:
        flipped = text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
        for damaged in (text[:place], flipped):
            assert lock_files._whole(damaged.encode()) == dvc_takes(damaged), damaged[place - 20 :]


@pytest.fixture
def torn(workshop: Workshop) -> Workshop:
    """A repository whose dvc.lock was cut where DVC no longer takes it."""
    text = (workshop.root / LOCK).read_bytes()
    (workshop.root / LOCK).write_bytes(text[: text.index(b"cmd") + 2])
    assert "dvc.lock" in workshop.dvc("status", ok=False)
    return workshop


def test_the_copy_is_put_back_and_the_torn_one_is_kept(torn: Workshop) -> None:
    torn.run("git", "checkout", "--", "dvc.lock")
    whole, cut = (torn.root / LOCK).read_bytes(), b"schema: '2.0'\nstages:\n  split:\n    cm"
    lock_files.keep(torn.root)
    torn.run("git", "rm", "--quiet", "--cached", "dvc.lock")
    torn.run("git", "commit", "--quiet", "--message", "no lock")
    (torn.root / LOCK).write_bytes(cut)
    (line,) = lock_files.heal(torn.root)
    assert "restored from .imagetrail/dvc.lock" in line
    assert (torn.root / LOCK).read_bytes() == whole
    assert (torn.root / lock_files.DAMAGED).read_bytes() == cut
    assert lock_files.heal(torn.root) == []


def test_without_a_copy_that_of_the_last_commit_is_taken_by_any_command(torn: Workshop) -> None:
    said = torn.imagetrail("verify")
    assert "dvc.lock was torn" in said and "restored from the last commit" in said
    assert "up to date" in torn.dvc("status")
    assert (torn.root / COPY).read_bytes() == (torn.root / LOCK).read_bytes()


def test_with_no_copy_at_all_dvc_takes_all_from_its_run_cache(torn: Workshop) -> None:
    torn.run("git", "rm", "--quiet", "--cached", "dvc.lock")
    torn.run("git", "commit", "--quiet", "--message", "no lock")
    assert "removed" in lock_files.heal(torn.root)[0] and not (torn.root / LOCK).exists()
    torn.dvc("repro")
    assert pipeline.lock(torn.root).keys() == pipeline.stages(torn.root).keys()


def test_an_emptied_one_is_torn(workshop: Workshop) -> None:
    (workshop.root / LOCK).write_bytes(b"")
    (line,) = lock_files.heal(workshop.root)
    assert "restored from the last commit" in line


def test_one_in_conflict_is_left_alone_and_told(workshop: Workshop) -> None:
    text = (workshop.root / LOCK).read_text()
    conflict = f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> retrain\n"
    (workshop.root / LOCK).write_text(conflict)
    said = workshop.imagetrail("verify", ok=False)
    assert said.startswith("error: dvc.lock is in conflict") and said.count("\n") == 1
    assert (workshop.root / LOCK).read_text() == conflict


def test_one_that_dvc_is_writing_is_waited_for(workshop: Workshop) -> None:
    file, whole = workshop.root / LOCK, (workshop.root / LOCK).read_bytes()
    file.write_bytes(whole[: len(whole) // 2 + 1])
    with (workshop.root / ".dvc/tmp/lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def end() -> None:
            time.sleep(0.5)
            file.write_bytes(whole)
            fcntl.flock(held, fcntl.LOCK_UN)

        writer = threading.Thread(target=end)
        writer.start()
        assert lock_files.heal(workshop.root) == []
        writer.join()


def test_a_dvc_that_does_not_let_go_is_told(
    torn: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_files, "PATIENCE", 0.2)
    with (torn.root / ".dvc/tmp/lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="DVC is at work"):
            lock_files.heal(torn.root)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2 + 1],
        lambda _: b"",
        lambda _: b"[]",
        lambda _: b'{"write": {"/x": {"pie": 1, "cmd": "dvc"}}}',
    ],
)
def test_a_torn_rwlock_is_removed(workshop: Workshop, damage: Callable[[bytes], bytes]) -> None:
    file: Path = workshop.root / ".dvc/tmp/rwlock"
    file.write_bytes(damage(b'{"read": {}, "write": {}}'))
    assert "rwlock" in workshop.dvc("repro", "--force", ok=False)
    (line,) = lock_files.heal(workshop.root)
    assert "rwlock was torn" in line
    workshop.dvc("repro", "--force")


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_dvc_whose_number_is_taken_stops_nobody(workshop: Workshop, reaped: bool) -> None:
    file: Path = workshop.root / ".dvc/tmp/rwlock"
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    pid = os.getpid() if reaped else zombie.pid  # reaped: another process has got its number
    noted = {"pid": pid, "cmd": "dvc repro no-such-stage"}
    outs = [str(workshop.root / name) for name in ("data", "artifacts")]
    file.write_text(json.dumps({"read": {}, "write": dict.fromkeys(outs, noted)}))
    assert "is being blocked by" in workshop.dvc("repro", "--force", ok=False)
    (line,) = lock_files.heal(workshop.root)
    assert "named a DVC that was killed: removed" in line
    workshop.dvc("repro", "--force")
    zombie.wait()


def test_a_dvc_at_work_stays_on_its_list(workshop: Workshop) -> None:
    file: Path = workshop.root / ".dvc/tmp/rwlock"
    with subprocess.Popen([sys.executable, "-c", "input()", "repro"], stdin=subprocess.PIPE) as dvc:
        users = {"read": {"/x": [{"pid": dvc.pid, "cmd": "dvc repro"}]}, "write": {}}
        file.write_text(json.dumps(users))
        assert lock_files.heal(workshop.root) == []
        assert lock_files.at_work(workshop.root) == {dvc.pid: "dvc repro"}
        dvc.communicate(b"\n")
    assert lock_files.at_work(workshop.root) == {} == dict(lock_files.heal(workshop.root))


def test_a_folder_that_cannot_be_written_costs_the_copy_only(workshop: Workshop) -> None:
    (workshop.root / ".imagetrail").write_text("a file where a folder should be")
    assert lock_files.heal(workshop.root) == []
