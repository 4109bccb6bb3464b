"""A whole project where there is none: this repository's own files, on the installed package.

The package has them as data, from links to the files of the repository, so that there is no second
copy. What differs: stages depend on requirements.txt, which pins the package, in place of its code.
"""

import json
import re
from importlib import metadata, resources
from pathlib import Path

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing
from imagetrail.base.paths import CORRECTIONS, REQUIREMENTS, SCHEMA
from imagetrail.data import corrections
from imagetrail.release import git_dvc

WORKFLOW = ".github/workflows/retrain.yml"
IGNORES = (".gitignore", ".dvcignore")  # a user's lines in them stay
FILES = {  # where it goes: what the package calls it, dots and folders left out
    WORKFLOW: "retrain.yml",
    ".gitlab-ci.yml": "gitlab-ci.yml",
    ".gitignore": "gitignore",
    ".dvcignore": "dvcignore",
    "Makefile": "Makefile",
    "pipeline.mk": "pipeline.mk",
    "params.yaml": "params.yaml",
    "champion/README.md": "champion.md",
    "data/own/README.md": "own.md",
    "data/weights/README.md": "weights.md",
    "dvc.yaml": "stages.yaml",  # by another name, as DVC would run it here; last: now all is whole
}
CODE = re.compile(r"(?:      - src/imagetrail/\S+\n)+")  # the rooms of a stage, which lie together


def contents() -> dict[str, str]:
    """The text of each file of a new project."""
    folder = resources.files("imagetrail") / "scaffold"
    texts = {path: (folder / name).read_text() for path, name in FILES.items()}
    texts["dvc.yaml"] = CODE.sub(f"      - {REQUIREMENTS}\n", texts["dvc.yaml"])
    texts[WORKFLOW] = texts[WORKFLOW].replace("requirements.lock", str(REQUIREMENTS))
    labels = ",".join(corrections.COLUMNS)
    first = {REQUIREMENTS: f"{_pin()}\n", CORRECTIONS: f"{labels}\n", SCHEMA: "{}\n"}
    return {str(path): text for path, text in first.items()} | texts


def refuse(root: Path) -> None:
    """Raises UserError where no project can begin: within another, or over a user's files."""
    for above in root.resolve().parents:
        if (above / "dvc.yaml").exists() and (above / "params.yaml").exists():
            raise UserError(f"the project is in {above}; run imagetrail there")
    others = [
        path
        for path, text in contents().items()
        if path not in IGNORES
        and (root / path).exists()
        and (root / path).read_bytes() != text.encode()
    ]
    if others:
        raise UserError(
            f"{others[0]} is here already, and no dvc.yaml; begin a project in a folder of its own"
        )


def make(root: Path) -> str:
    """Writes the files, and makes the folder a repository of Git and DVC; says so."""
    if (
        git_dvc.git(root, "rev-parse", "--is-inside-work-tree") != "true"
        and git_dvc.git(root, "init", "--quiet", "--initial-branch=main") is None
    ):
        raise UserError("`git init` failed; imagetrail needs Git")
    _make_dvc(root)
    written = contents()
    for path, text in written.items():
        with replacing(root / path) as temporary:
            temporary.write_text(_joined(root / path, text) if path in IGNORES else text)
    return "a new project is in this folder: `git add --all`, and commit it"


def _make_dvc(root: Path) -> None:
    """DVC with our settings, unless a user's own is there; they come last, all is whole then."""
    config = root / ".dvc" / "config"
    if config.exists() and config.read_text().strip():
        return
    if not config.with_name(".gitignore").exists():  # no DVC, or what a kill has left of its init
        top = git_dvc.git(root, "rev-parse", "--show-prefix") == ""
        git_dvc.dvc(root, "init", "--quiet", "--force", *([] if top else ["--subdir"]))
    ours = resources.files("imagetrail") / "scaffold" / "dvc-config"
    with replacing(config) as temporary:
        temporary.write_text(ours.read_text())


def ignore(pictures: Path, root: Path = Path()) -> str:
    """Has Git pass over a folder of pictures in the repository; says so if that is new."""
    inside = not pictures.is_absolute() and ".." not in pictures.parts
    known = ("check-ignore", "--quiet"), ("ls-files", "--error-unmatch")
    if not inside or any(
        git_dvc.git(root, *words, "--", str(pictures)) is not None for words in known
    ):
        return ""
    file = root / ".gitignore"
    line = "/" + re.sub(r"([\\*?\[\]#! ])", r"\\\1", pictures.as_posix())
    text = _joined(file, line)
    with replacing(file) as temporary:
        temporary.write_text(text)
    return f"{pictures} is in .gitignore now: DVC notes what is in it, Git does not keep it"


def _joined(path: Path, text: str) -> str:
    """The lines of a file that is there already, then those of ours that it lacks."""
    old = path.read_text().splitlines() if path.exists() else []
    return "\n".join([*old, *(line for line in text.splitlines() if line not in old)]) + "\n"


def _pin() -> str:
    """The line of requirements.txt for this very package, from where it came (PEP 610)."""
    name, package = "imagetrail[pretrained]", metadata.distribution("imagetrail")
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    if vcs := origin.get("vcs_info"):
        return f"{name} @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    if "archive_info" in origin and not origin["url"].startswith("file:"):
        return f"{name} @ {origin['url']}"
    return f"{name}=={package.version}"
