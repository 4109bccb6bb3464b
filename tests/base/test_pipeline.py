"""What a stage depends on, as its resume key has it: data, params and code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagetrail.base import pipeline
from imagetrail.training import checkpoints

DVC_YAML = """
stages:
  make: {cmd: make, outs: [data/made]}
  train: {cmd: train, deps: [data/made, src/room, setup.txt, data/weights], outs: [model]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A stage that depends on an out, a room of code, a file and a folder that nobody has made."""
    for name, text in {
        "dvc.yaml": DVC_YAML,
        "dvc.lock": "stages: {make: {outs: [{path: data/made, md5: aa.dir}]}}",
        "params.yaml": "seed: 0",
        ".dvcignore": "__pycache__/\nsrc/**/*.md\n",
        "data/made/images.npy": "as dvc.lock says",
        "src/room/code.py": "answer = 41",
        "src/room/inner/more.py": "",
        "setup.txt": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def resume_key(root: Path) -> str:
    return checkpoints.digest(pipeline.inputs("train", root))


@pytest.mark.parametrize(
    "file", ["src/room/code.py", "src/room/inner/more.py", "src/room/new.py", "setup.txt"]
)
def test_a_change_of_code_changes_the_resume_key(project: Path, file: str) -> None:
    before = resume_key(project)
    (project / file).write_text("answer = 42")
    assert resume_key(project) != before


def test_compiled_files_and_notes_leave_the_resume_key(project: Path) -> None:
    before = resume_key(project)
    for file in ("__pycache__/code.cpython-311.pyc", "README.md", "inner/README.md"):
        path = project / "src/room" / file
        path.parent.mkdir(exist_ok=True)
        path.write_text("not code")
    assert resume_key(project) == before


def test_what_a_stage_depends_on_is_hashed_as_dvc_hashes_it(project: Path) -> None:
    """By DVC's own word: what it notes in dvc.lock when it runs the stage."""
    for file in ("__pycache__/code.cpython-311.pyc", "README.md", "inner/more.txt"):
        (project / "src/room" / file).parent.mkdir(exist_ok=True)
        (project / "src/room" / file).write_text(file)
    (project / "dvc.lock").unlink()
    (project / "dvc.yaml").write_text(
        "stages:\n  train: {cmd: echo 1 > model, deps: [src/room, setup.txt], outs: [model]}\n"
    )
    for command in (["init", "--no-scm", "--quiet"], ["repro", "--quiet"]):
        env = os.environ | {"DVC_NO_ANALYTICS": "1"}
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=project, env=env, check=True)
    noted = {dep["path"]: dep["md5"] for dep in pipeline.lock(project)["train"]["deps"]}
    assert noted == pipeline.inputs("train", project) and noted["src/room"].endswith(".dir")


def test_other_data_than_the_lock_knows_changes_the_resume_key(project: Path) -> None:
    """As when a stage was run by hand: else its trainings would pass for those of the old data."""
    before = resume_key(project)
    (project / "data/made/images.npy").write_text("made by hand")
    assert resume_key(project) != before


def test_what_is_missing_is_nothing(project: Path) -> None:
    assert pipeline.inputs("train", project)["data/weights"] == ""
