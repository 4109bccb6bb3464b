"""Proposals meet at one remote: the one that began later is there in the end."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import services
from project import ROOT, Project

from imagetrail.base.errors import UserError
from imagetrail.release import git_dvc, pull_request, readings, remotes
from imagetrail.release.pull_request import BRANCH, REJECTED
from imagetrail.stages.gate import readings as counted


@pytest.fixture
def team(tmp_path: Path) -> Project:
    """A working copy on main, whose remote is a bare repository."""
    (tmp_path / "team").mkdir()
    made = Project(tmp_path / "team")
    made.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / "git"))
    made.run("git", "init", "--quiet", "--initial-branch=main")
    made.run("git", "config", "user.name", "Ada")
    made.run("git", "config", "user.email", "ada@example.org")
    made.run("git", "remote", "add", "origin", str(tmp_path / "git"))
    push(made, "first")
    return made


@pytest.fixture
def proposed(team: Project, tmp_path: Path) -> Callable[[str], Project]:
    """`proposed("a")` clones what main is now, and has a proposal there."""

    def make(name: str) -> Project:
        team.run("git", "clone", "--quiet", str(tmp_path / "git"), str(tmp_path / name))
        made = Project(tmp_path / name)
        made.run("git", "config", "user.name", "CI")
        made.run("git", "config", "user.email", "ci@example.org")
        made.run("git", "checkout", "--quiet", "-B", BRANCH)
        made.run("git", "commit", "--quiet", "--allow-empty", "-m", name)
        (made.root / ".imagetrail").mkdir()
        return made

    return make


def push(project: Project, message: str) -> None:
    project.run("git", "commit", "--quiet", "--allow-empty", "-m", message)
    project.run("git", "push", "--quiet", "origin", "main")


def there(team: Project, branch: str = BRANCH) -> str:
    return team.run("git", "ls-remote", "origin", f"refs/heads/{branch}")[:40]


def test_of_two_proposals_the_one_that_began_later_stays_whichever_comes_first(
    team: Project, proposed: Callable[[str], Project]
) -> None:
    older = proposed("older")
    push(team, "second")
    newer = proposed("newer")
    assert remotes.offer(older.root) == f"offered: {BRANCH}"
    assert remotes.offer(newer.root) == f"offered: {BRANCH}"
    assert (newer.root / remotes.OFFERED).exists()
    said = remotes.offer(older.root)
    assert "nothing to offer: what is there began with" in said
    assert not (older.root / remotes.OFFERED).exists()
    assert there(team) == git_dvc.head(newer.root)


def test_what_began_before_another_was_merged_gives_way(
    team: Project, proposed: Callable[[str], Project]
) -> None:
    first, late = proposed("first"), proposed("late")
    remotes.offer(first.root)
    team.run("git", "pull", "--quiet", "--ff-only", "origin", BRANCH)
    team.run("git", "push", "--quiet", "origin", "main")
    assert "nothing to offer: what is there" in remotes.offer(late.root)
    assert remotes.offer(first.root) == "nothing to offer: the main branch has it"
    assert there(team) == there(team, "main") == git_dvc.head(first.root)


def test_a_proposal_that_comes_while_another_is_pushed_is_not_overwritten(
    team: Project, proposed: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = proposed("older")
    push(team, "second")
    newer = proposed("newer")
    refused = git_dvc.refused

    def late(root: Path, *words: str) -> str:
        if root == older.root and words[:2] == ("push", "--quiet"):
            monkeypatch.setattr(git_dvc, "refused", refused)
            remotes.offer(newer.root)
        return refused(root, *words)

    monkeypatch.setattr(git_dvc, "refused", late)
    assert "nothing to offer" in remotes.offer(older.root)
    assert there(team) == git_dvc.head(newer.root)


def test_without_a_proposal_rejected_results_are_pushed_alone(
    proposed: Callable[[str], Project], team: Project
) -> None:
    clone = proposed("a")
    clone.run("git", "branch", REJECTED)
    clone.run("git", "checkout", "--quiet", "main")
    assert remotes.offer(clone.root) == f"offered: {REJECTED}"
    assert there(team, REJECTED) and not there(team)
    clone.run("git", "branch", "--delete", "--force", "--quiet", REJECTED)
    assert remotes.offer(clone.root) == "nothing to offer"


def judged(clone: Project, *challengers: str) -> None:
    """These have been judged by test images there."""
    rows = "".join(f"{number},{name}\n" for number, name in enumerate(challengers, 1))
    (clone.root / readings.FILE).parent.mkdir(parents=True, exist_ok=True)
    (clone.root / readings.FILE).write_text(f"number,challenger\n{rows}")


def taken(clone: Project) -> list[str]:
    """What the gate of this clone counts beside its own, once it has fetched."""
    clone.run("git", "fetch", "--quiet", "origin")
    readings.take(clone.root)
    return (clone.root / readings.OTHERS).read_text().splitlines()[1:]


def rejected(clone: Project) -> None:
    clone.run("git", "branch", "--force", REJECTED)
    clone.run("git", "checkout", "--quiet", "main")


def test_of_two_rejected_at_once_both_readings_count(
    proposed: Callable[[str], Project], team: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = proposed("a"), proposed("b")
    for clone, name in ((first, "x"), (second, "y")):
        judged(clone, "old", name)
        rejected(clone)
    push = readings._push

    def late(root: Path, text: str) -> str:
        monkeypatch.setattr(readings, "_push", push)
        remotes.offer(second.root)  # it comes while ours is on its way
        return push(root, text)

    monkeypatch.setattr(readings, "_push", late)
    remotes.offer(first.root)
    assert taken(first) == taken(second) == ["1,old", "2,y", "3,x"]
    tip = there(team, readings.BRANCH)
    assert remotes.offer(first.root) == f"offered: {REJECTED}", (
        "again, and nothing is counted twice"
    )
    assert there(team, readings.BRANCH) == tip


def test_a_proposal_that_gives_way_leaves_its_reading(
    proposed: Callable[[str], Project], team: Project
) -> None:
    older = proposed("older")
    judged(older, "x")
    push(team, "second")
    remotes.offer(proposed("newer").root)
    assert not there(team, readings.BRANCH), "it has none"
    assert "nothing to offer" in remotes.offer(older.root)
    assert taken(older) == ["1,x"]
    assert pull_request.recall(older.root).startswith("beginning with")


def test_readings_are_where_the_gate_looks_for_them() -> None:
    assert (readings.FILE, readings.OTHERS) == (counted.FILE, counted.OTHERS)


def test_no_right_to_push_is_one_line_and_no_fault_and_a_server_that_is_down_is_one(
    proposed: Callable[[str], Project], team: Project, tmp_path: Path
) -> None:
    fork = proposed("fork")
    server = services.GitServer(tmp_path, writing=False)
    try:
        fork.run("git", "remote", "set-url", "origin", server.address("git"))
        said = remotes.offer(fork.root)
    finally:
        server.stop()
    assert said.startswith("no right to push (remote error: access denied") and "\n" not in said
    assert not there(team)
    with pytest.raises(UserError, match=r"^git's remote is out of reach \(.*refused") as raised:
        remotes.offer(fork.root)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("extra", ["s3", "gs", "azure"])
def test_each_extra_for_a_store_brings_what_dvc_asks_for(extra: str, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"][extra] == [f"dvc-{extra}"]
    pytest.importorskip(f"dvc_{extra}")
    assert re.search(rf"^\s+{extra} \(", Project(tmp_path).dvc("doctor"), re.MULTILINE)
