"""A lock that a killed git has left does not block the next command."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from workshop import Workshop

from imagetrail.release import git_dvc, git_locks


def left_behind(workshop: Workshop, name: str) -> Path:
    lock = workshop.root / ".git" / name
    lock.touch()
    os.utime(lock, (1, 1))
    return lock


def test_locks_of_a_git_that_is_gone_are_removed_and_told(workshop: Workshop) -> None:
    names = ("index.lock", "refs/heads/retrain.lock")
    locks = [left_behind(workshop, name) for name in names]
    workshop.run("git", "add", "--all", ok=False)
    said = workshop.imagetrail("verify")
    assert all(f".git/{name} was left by a git that was killed: removed" in said for name in names)
    assert not any(lock.exists() for lock in locks)
    workshop.run("git", "add", "--all")


def test_the_lock_of_a_git_at_work_stays(workshop: Workshop) -> None:
    lock = left_behind(workshop, "index.lock")
    words = ["git", "cat-file", "--batch"]  # it waits for what to show
    with subprocess.Popen(words, cwd=workshop.root, stdin=subprocess.PIPE) as process:
        assert git_locks.heal(workshop.root) == [] and lock.exists()
        process.communicate()
    assert git_locks.heal(workshop.root) != []


def test_a_git_that_is_stopped_with_us_takes_its_lock_with_it(workshop: Workshop) -> None:
    hook = workshop.root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nkill -ALRM $(cat ../here)\nsleep 60\n")
    hook.chmod(0o755)
    (workshop.root.parent / "here").write_text(str(os.getpid()))

    def stop(*_: object) -> None:
        raise RuntimeError

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(RuntimeError):  # as SIGTERM is one in a command
            git_dvc.git(workshop.root, "commit", "--allow-empty", "--message", "x")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not (workshop.root / ".git/index.lock").exists()
