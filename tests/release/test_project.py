"""A project's identity is made once and travels with Git."""

import json
from pathlib import Path

from workshop import Workshop

from imagetrail.base.paths import PROJECT_FILE
from imagetrail.release import project, pull_request


def test_an_identity_is_made_once_for_each_name(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("data: {name: flowers}\n")
    first = project.identity(tmp_path)
    assert project.identity(tmp_path) == first
    assert json.loads((tmp_path / PROJECT_FILE).read_text()) == {"name": "flowers", "id": first}
    (tmp_path / "params.yaml").write_text("project: roses\ndata: {name: flowers}\n")
    assert project.identity(tmp_path) != first


def test_where_a_project_is_tells_no_token(workshop: Workshop) -> None:
    assert project.whereabouts(workshop.root).endswith(f":{workshop.root}")
    address = "https://ada:secret@git.example.org/ada/flowers.git"
    workshop.run("git", "remote", "add", "origin", address)
    assert project.whereabouts(workshop.root) == "https://git.example.org/ada/flowers.git"


def test_a_proposal_has_the_identity_and_the_next_retraining_begins_with_it(
    workshop: Workshop,
) -> None:
    (workshop.root / ".gitignore").write_text("data/*\n.imagetrail/\n")  # of before it was known
    workshop.commit()
    first = project.identity(workshop.root)
    workshop.run("git", "checkout", "--quiet", "-b", "retrain")
    pull_request._commit(workshop.root, "Retrained")
    workshop.run("git", "update-ref", "refs/remotes/origin/retrain", "HEAD")
    workshop.run("git", "checkout", "--quiet", "main")
    assert not (workshop.root / PROJECT_FILE).exists()
    pull_request.recall(workshop.root)
    assert project.identity(workshop.root) == first
    pull_request._refuse_other_changes(workshop.root)
