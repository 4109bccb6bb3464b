"""A folder whose name would send MLflow elsewhere is refused before any work."""

from pathlib import Path

import pytest
from project import Project


@pytest.mark.parametrize("name", ["a#b", "50%20off", "what?"])
def test_such_a_folder_is_refused_in_one_line_by_every_command_of_a_project(
    tmp_path: Path, name: str
) -> None:
    project = Project(tmp_path / name)
    project.root.mkdir()
    project.take("dvc.yaml")
    project.set()
    for command in ("params", "fetch", "publish", "promote"):
        said = project.imagetrail(command, ok=False)
        assert said.startswith("error: ") and said.count("\n") == 1
        assert name in said and "move the project" in said
    assert {path.name for path in project.root.iterdir()} == {"dvc.yaml", "params.yaml"}


def test_any_other_name_will_do(tmp_path: Path) -> None:
    project = Project(tmp_path / "Ünï [1] @home *&'$(x)")
    project.root.mkdir()
    project.take("dvc.yaml")
    project.set()
    assert "are valid" in project.imagetrail("params")
