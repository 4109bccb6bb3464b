"""The command line itself: groups of commands, the version, one line where no project is."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from project import Project
from typer.testing import CliRunner

from imagetrail.base.errors import UserError
from imagetrail.cli.main import ANYWHERE, COMMANDS, STAGES, app
from imagetrail.cli.stage import LOOK_AT, run_stage

OF_A_PROJECT = sorted({name for group in COMMANDS.values() for name in group} - ANYWHERE)


@pytest.mark.parametrize("name", OF_A_PROJECT)
def test_in_an_empty_folder_every_command_says_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        app([name], standalone_mode=False)
    assert str(caught.value) == (
        f"params.yaml: no such file in {tmp_path}; run this in the folder of a project, or begin "
        "one: imagetrail init PICTURES"
    )
    assert not [*tmp_path.iterdir()]


def test_help_has_commands_in_groups_and_needs_no_project(tmp_path: Path) -> None:
    project = Project(tmp_path)
    said = project.imagetrail("--help", COLUMNS="100", TERM="dumb")
    places = [said.index(f" {group} ") for group in COMMANDS]
    assert places == sorted(places) and "--install-completion" in said
    assert "Usage" in project.imagetrail("gate", "--help")


def test_the_version_is_that_of_the_package() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"imagetrail {version('imagetrail')}\n")


def test_a_shell_completes_commands(tmp_path: Path) -> None:
    words = {"_IMAGETRAIL_COMPLETE": "complete_bash", "COMP_WORDS": "imagetrail st"}
    made = Project(tmp_path, **words, COMP_CWORD="1")
    code = "import sys; sys.argv[0] = 'imagetrail'; from imagetrail.cli.main import app; app()"
    done = made.run(sys.executable, "-c", code)
    assert done.split() == ["status"]


def test_a_stage_says_what_it_is_for_and_last_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project(tmp_path)
    project.set()
    monkeypatch.chdir(tmp_path)
    run_stage("weights", STAGES["weights"])
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "weights: Bring a network of the hub in, verified."
    assert re.fullmatch(r"weights: done in \d+:\d\d", last)
    assert LOOK_AT.keys() <= STAGES.keys()


def test_escapes_in_a_mistake_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text('"g\\x1b[2Jate": {}\n')
    done = subprocess.run(
        [sys.executable, "-m", "imagetrail.cli", "drift", "new\x1b[2J"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "\x1b" not in done.stderr
    assert done.stderr == "error: new\\x1b[2J is not a folder of pictures\n"


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    """What no machine has is asked for in place of a command."""
    code = "from imagetrail.cli import main; main.app = lambda: bytearray(1 << 62); main.main()"
    (line,) = Project(tmp_path).run(sys.executable, "-c", code, ok=False).splitlines()
    assert line == "error: not enough memory; close other programs, or take a larger machine"
