"""A Git that cannot be used is told in one right line, and nothing is half done."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from workshop import Workshop

from imagetrail.base.errors import UserError
from imagetrail.base.paths import CHAMPION
from imagetrail.release import git_dvc, promotion, pull_request

NOT_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to others")


def champion(workshop: Workshop) -> set[str]:
    return {path.name for path in (workshop.root / CHAMPION).iterdir()}


@NOT_ROOT
def test_a_repository_of_another_user_is_told_with_the_cure(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    for path in (workshop.root, workshop.root / ".git"):
        os.chown(path, 4242, 4242)
    with pytest.raises(UserError, match="belongs to another user") as told:
        promotion.promote(workshop.root)
    assert "\n" not in str(told.value) and champion(workshop) == {"README.md"}
    for use in (pull_request.propose, pull_request.recall, git_dvc.refuse_trouble):
        with pytest.raises(UserError, match="belongs to another user"):
            use(workshop.root)
    workshop.run("sh", "-c", str(told.value).split("`")[1], HOME=str(tmp_path))
    shutil.move(tmp_path / ".gitconfig", tmp_path / "gitconfig")
    assert promotion.promote(workshop.root) is not None


def test_a_downloaded_archive_has_no_history_and_is_told_so(workshop: Workshop) -> None:
    shutil.rmtree(workshop.root / ".git")
    for use in (promotion.promote, pull_request.propose, pull_request.recall):
        with pytest.raises(UserError, match="is in no Git repository; clone"):
            use(workshop.root)
    assert champion(workshop) == {"README.md"}


def test_before_the_first_commit_there_is_nothing_to_propose(workshop: Workshop) -> None:
    workshop.run("git", "update-ref", "-d", "HEAD")
    with pytest.raises(UserError, match="a proposal needs a first commit"):
        pull_request.propose(workshop.root)


def test_without_a_git_program_it_is_told(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    for use in (promotion.promote, pull_request.propose, git_dvc.refuse_trouble):
        with pytest.raises(UserError, match="git is not installed"):
            use(workshop.root)
    assert champion(workshop) == {"README.md"}


@NOT_ROOT
def test_a_user_without_a_name_promotes_as_a_number(tmp_path: Path) -> None:
    code = "import os; os.setuid(4242)\nfrom imagetrail.release import git_dvc\n"
    code += "from pathlib import Path; print(git_dvc.user(Path('/')))"
    nobody = Workshop(tmp_path)
    kept = {"HOME": "/nowhere", "USER": "", "LOGNAME": "", "USERNAME": "", "LNAME": ""}
    if not os.access(sys.executable, os.X_OK) or _closed_to_others(Path(sys.executable)):
        code = code.replace("os.setuid(4242)\n", "\n").replace(
            "print", "os.setuid(4242); print"
        )  # what is closed to others is imported before
    assert nobody.run(sys.executable, "-c", code, **kept).strip() == "uid 4242"


def _closed_to_others(path: Path) -> bool:
    return any(not parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def test_gits_own_reason_is_given(workshop: Workshop) -> None:
    hook = workshop.root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no commits on Fridays >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(UserError, match="`git commit` failed: no commits on Fridays"):
        git_dvc.demand(workshop.root, "commit", "--allow-empty", "-m", "x")


def test_why_git_refuses_is_one_line_without_the_password_of_the_address(tmp_path: Path) -> None:
    address = f"http://ada:{'pass' + 'word'}@127.0.0.1:1/x"
    said = git_dvc.refused(tmp_path, "ls-remote", address)
    assert said and "\n" not in said and "password" not in said
