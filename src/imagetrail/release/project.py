"""Who this project is, on a server that others use too: made once, and kept in git.

The commit that a repository begins with does not do: all that begin with a clone of imagetrail have
the same one. A project that is given another name is another project.
"""

import socket
import uuid
from pathlib import Path

from imagetrail.base import pipeline
from imagetrail.base.files import read_json, write_json
from imagetrail.base.params import Section, check
from imagetrail.base.paths import PROJECT_FILE
from imagetrail.base.words import without_secrets
from imagetrail.release import git_dvc


class Identity(Section):
    """What data/project.json holds."""

    name: str
    id: str


def identity(root: Path, *, known: str = "") -> str:
    """The id in data/project.json, which is written if it is not there or has another name.

    known: the id that a server has of a project of this name and place, as where CI could not
    commit the file. Raises UserError if the file is damaged.
    """
    if found := held(root):
        return found
    made = Identity(name=pipeline.project(root), id=known or drawn())
    write_json(root / PROJECT_FILE, made.model_dump())
    return made.id


def held(root: Path) -> str:
    """The id in data/project.json; empty if it is not there or has another name.

    Raises UserError if the file is damaged.
    """
    file = root / PROJECT_FILE
    if not file.exists():
        return ""
    value = read_json(file, remedy=f"bring it back with `git checkout -- {PROJECT_FILE}`")
    found = check(Identity, value, str(PROJECT_FILE))
    return found.id if found.name == pipeline.project(root) else ""


def drawn() -> str:
    """An id that nobody has."""
    return uuid.uuid4().hex[:16]


def whereabouts(root: Path) -> str:
    """Where others find it: the address of git's remote, else machine and folder."""
    address = git_dvc.git(root, "remote", "get-url", "origin")
    if address:
        return without_secrets(address)
    return f"{socket.gethostname()}:{root.resolve()}"
