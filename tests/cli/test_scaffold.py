"""A project begun by `imagetrail init`, on the package as it is installed."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from project import ROOT, Project

from imagetrail.base import paths, pipeline
from imagetrail.base.errors import UserError
from imagetrail.cli.begin import scaffold

SOURCES = (  # what a wheel is made of
    *("src", "pyproject.toml", "README.md", "LICENSE", "dvc.yaml", "params.yaml", "pipeline.mk"),
    *(".dvc/config", ".github", ".gitlab-ci.yml", ".gitignore", ".dvcignore", "champion/README.md"),
    *("data/own/README.md", "data/weights/README.md"),
)
SMALL = {
    "synthesise": {"per_class": 4},
    "recipe": {"model": "fast", "activation": "relu", "width": 0.5, "repeat_to": 0, "lr": 0.1},
    "pretrain": {"weights": None},
    "train": {"epochs": 2},
    "tune": {"trials": 2, "batch": 2, "rungs": [1], "space": {"activation": ["relu", "silu"]}},
    "compare": {
        "seeds": 3,
        "remedies": {"epochs": 1, "images": None, "tried": {"augmented": 0.3}},
        "sets": {
            "activations": {
                "epochs": 1,
                "images": None,
                "reference": "relu",
                "arms": {"relu": {"activation": "relu"}, "tanh": {"activation": "tanh"}},
            }
        },
    },
    "evaluate": {"bootstrap": 100, "corrupted": 10},
    "explain": {"per_class": 1, "pictures": 8},
}


def test_what_a_kill_has_left_of_dvc_is_made_whole_and_a_users_own_is_not_touched(
    tmp_path: Path,
) -> None:
    killed, own = Project(tmp_path / "killed"), Project(tmp_path / "own")
    killed.root.mkdir()
    killed.run("git", "init", "--quiet")
    (killed.root / ".dvc").mkdir()
    (killed.root / ".dvc/config").touch()
    scaffold.make(killed.root)
    assert "autostage = false" in (killed.root / ".dvc/config").read_text()
    assert (killed.root / ".dvc/.gitignore").exists()
    own.init()
    own.dvc("config", "core.checksum_jobs", "2")
    (own.root / ".dvc/cache").mkdir()
    before = (own.root / ".dvc/config").read_text()
    scaffold.make(own.root)
    assert (own.root / ".dvc/config").read_text() == before and (own.root / ".dvc/cache").exists()


def test_it_has_all_files_and_the_pipeline_of_this_repository(tmp_path: Path) -> None:
    scaffold.make(tmp_path)
    for path in scaffold.FILES:
        assert (tmp_path / path).is_file() and not (tmp_path / path).is_symlink()
    ours, theirs = pipeline.stages(ROOT), pipeline.stages(tmp_path)
    assert list(theirs) == list(ours)
    for name, stage in theirs.items():
        assert [dep for dep in stage.deps if dep != "requirements.txt"] == [
            dep for dep in ours[name].deps if not dep.startswith("src/")
        ]
        assert stage.deps.count("requirements.txt") == 1
        assert (stage.outs, stage.params) == (ours[name].outs, ours[name].params)
    made = {out for stage in theirs.values() for out in stage.outs}
    needed = {dep for stage in theirs.values() for dep in stage.deps} - made
    assert [dep for dep in sorted(needed) if not (tmp_path / dep).exists()] == []
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_git_has_all_of_it_and_dvc_is_content(tmp_path: Path) -> None:
    made = Project(tmp_path / "new")
    made.root.mkdir()
    scaffold.make(made.root)
    made.run("git", "add", "--all")
    kept = set(made.run("git", "ls-files").splitlines())
    assert {*scaffold.FILES, "requirements.txt", "data/corrections.csv", ".dvc/config"} <= kept
    assert made.dvc("config", "core.analytics").strip() == "false"
    assert "fetch" in made.dvc("stage", "list")


def test_its_requirements_pin_this_package() -> None:
    line = scaffold.contents()[str(paths.REQUIREMENTS)]
    assert line == f"imagetrail[pretrained]=={_version()}\n"


def _version() -> str:
    text = (ROOT / "pyproject.toml").read_text()
    return text.split('version = "')[1].split('"')[0]


def test_its_make_has_targets_for_whom_does_not_develop_imagetrail(tmp_path: Path) -> None:
    made = Project(tmp_path)
    scaffold.make(made.root)
    targets = {line.split()[1] for line in made.run("make").splitlines()}
    assert targets == {"setup", "init", "repro", "retrain", "offer", "request", "ui", "help"}


def test_a_users_files_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("mine:\n")
    with pytest.raises(UserError, match="Makefile is here already, and no dvc.yaml"):
        scaffold.refuse(tmp_path)


def test_a_users_lines_stay_in_what_git_and_dvc_pass_over(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    scaffold.refuse(tmp_path)
    scaffold.make(tmp_path)
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert lines[0] == "mine" and set((ROOT / ".gitignore").read_text().splitlines()) < set(lines)


def test_broken_off_the_same_command_completes_it(tmp_path: Path) -> None:
    scaffold.make(tmp_path)
    for path in ("dvc.yaml", "champion/README.md"):
        (tmp_path / path).unlink()
    scaffold.refuse(tmp_path)
    scaffold.make(tmp_path)
    assert (tmp_path / "dvc.yaml").exists() and (tmp_path / "champion/README.md").exists()


def test_none_begins_within_another(tmp_path: Path) -> None:
    scaffold.make(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="run imagetrail there"):
        scaffold.refuse(tmp_path / "photos")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has the package as a wheel, and no network."""
    made = Project(tmp_path_factory.mktemp("sources"), PYTHONPATH="")
    for name in SOURCES:
        made.take(name)
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index")
    made.run(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), ".")
    venv = folder / "venv"
    made.run(sys.executable, "-m", "venv", "--without-pip", str(venv))
    (wheel,) = folder.glob("*.whl")
    made.run(*pip, "--python", str(venv / "bin/python"), "install", *offline, str(wheel))
    (own,) = venv.glob("lib/python*/site-packages")
    (own / "others.pth").write_text(sysconfig.get_path("purelib"))
    return venv


@pytest.mark.slow
def test_the_pipeline_runs_on_the_installed_package(installed: Path, tmp_path: Path) -> None:
    path = f"{installed / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}"
    made = Project(tmp_path / "new", PATH=path + os.environ["PATH"], PYTHONPATH="")
    rng = np.random.default_rng(0)
    for kind, low in {"dark": 0, "light": 128}.items():
        (made.root / "photos" / kind).mkdir(parents=True)
        for number in range(40):
            noise = rng.integers(low, low + 128, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(made.root / "photos" / kind / f"{number}.png")
    made.run("imagetrail", "init", "photos")
    params = yaml.safe_load((made.root / "params.yaml").read_text())
    for section, changes in SMALL.items():
        params[section] |= changes
    (made.root / "params.yaml").write_text(yaml.safe_dump(params))
    where = made.run("python", "-c", "import imagetrail; print(imagetrail.__file__)")
    assert where.startswith(str(installed))
    made.dvc("repro")
    assert made.json("gate/decision.json")["decision"] in ("PROMOTE", "HOLD", "REJECT")
    assert "Running stage" not in made.dvc("repro")
    made.run("git", "add", "--all")
    made.run("git", "-c", "user.name=Ada", "-c", "user.email=a@b", "commit", "-qm", "first")
    assert "is in MLflow" in made.run("imagetrail", "publish")
    assert "every byte" in made.run("imagetrail", "verify")
    assert subprocess.run(["git", "diff", "--quiet"], cwd=made.root).returncode == 0
