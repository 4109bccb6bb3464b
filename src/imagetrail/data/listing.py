"""What lies in a folder of pictures: seen once, without a look into any file."""

import os
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from imagetrail.base.errors import UserError
from imagetrail.base.words import breaks, printable

HIDDEN = {"$RECYCLE.BIN", "@eaDir", "__MACOSX", "Desktop.ini", "Thumbs.db", "desktop.ini"}
STEERS_DVC = {".dvc", ".dvcignore", "dvc.lock", "dvc.yaml"}  # it would take them for its own
UNSEEN = {".git", ".hg"}  # what DVC passes over
NO_PICTURE = re.compile(  # by its name; any other file is judged by its content
    r".*\.(csv|tsv|json|jsonl|ndjson|parquet|xml|ya?ml|toml|ini|cfg|txt|md|rst|html?|log|py|ipynb|sh"
    r"|m|mat|npy|npz|h5|hdf5|pkl|pt|pth|onnx|pdf|docx?|xlsx?|ods|db|sqlite|dvc|md5|sha256"
    r"|zip|tar|gz|tgz|bz2|xz|zst|7z|rar|mp4|mov|avi|mkv|webm|mp3|wav|m4a|aae|xmp)",
    re.IGNORECASE,
)
DEEPEST = 50  # folders within folders


@dataclass(frozen=True)
class Folder:
    """A folder and all below it, but for what is hidden; names are in order."""

    place: Path
    folders: dict[str, "Folder"]
    files: tuple[str, ...]

    def below(self) -> Iterator[str]:
        """The paths of all files from here, with /."""
        yield from self.files
        for name, folder in self.folders.items():
            for path in folder.below():
                yield f"{name}/{path}"

    def pictures(self) -> bool:
        """Whether one lies right here, by its name."""
        return any(may_be_picture(name) for name in self.files)


def hidden(name: str) -> bool:
    return name.startswith(".") or name in HIDDEN


def may_be_picture(name: str) -> bool:
    return not NO_PICTURE.fullmatch(name)


def flaw(name: str) -> str:
    """What keeps a file, folder or class from being called so; empty if nothing does."""
    if name.isprintable():
        return ""
    if any(unicodedata.category(char) == "Cs" for char in name):
        return "is not UTF-8"
    return "has a control character" if any(map(breaks, name)) else ""


def scan(folder: Path, shown: str) -> Folder:
    """All of a folder, which messages call `shown`.

    Raises UserError for what cannot be listed, for names that cannot be written down, and for
    what DVC, which says whether pictures have changed, would not see, would take for its own or
    cannot read: it looks at what is hidden as well.
    """
    return _scan(folder, shown, "", 0)


def _scan(folder: Path, shown: str, inside: str, depth: int) -> Folder:
    if depth > DEEPEST:
        raise UserError(f"{shown}: {inside}: more than {DEEPEST} folders within one another")
    folders: dict[str, Folder] = {}
    files: list[str] = []
    found = entries(folder, shown, inside)
    names = {entry.name for entry in found}
    for entry in found:
        path = f"{inside}{entry.name}"
        if entry.name in UNSEEN:
            continue
        if fault := flaw(entry.name):
            raise UserError(f"{shown}: {printable(path)}: the name {fault}; rename it")
        if _steers_dvc(entry.name, names):
            raise UserError(f"{shown}: {path} is DVC's, not a picture; take it out of the pictures")
        if _is_folder(entry, shown, path):
            below = _scan(folder / entry.name, shown, f"{path}/", depth + 1)
            if not hidden(entry.name):
                folders[entry.name] = below
        elif not hidden(entry.name):
            files.append(entry.name)
    return Folder(folder, folders, tuple(files))


def _steers_dvc(name: str, beside: Collection[str]) -> bool:
    """Whether DVC would read it; what `dvc add` writes lies beside what it is of."""
    return name in STEERS_DVC or (name.endswith(".dvc") and name[:-4] not in beside)


def entries(folder: Path, shown: str, inside: str = "") -> list[os.DirEntry[str]]:
    """What is in a folder, by name; raises UserError if it cannot be listed."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        place = f"{shown}: {inside}" if inside else shown
        raise UserError(f"{place}: cannot be listed ({str(error.strerror).lower()})") from None


def leads_to(entry: os.DirEntry[str]) -> str:
    """What an entry or, if it is a link, its end is: folder, file, other or, of no end, nothing.

    Asks the disk for nothing but where a link leads: what an entry is, the listing has told.
    """
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link to itself
        return ""
    return "" if entry.is_symlink() and not Path(entry).exists() else "other"


def _is_folder(entry: os.DirEntry[str], shown: str, path: str) -> bool:
    kind = leads_to(entry)
    if kind == "folder" and entry.is_symlink():
        fault = "is a linked folder, behind which DVC sees no change; put the folder itself here"
        raise UserError(f"{shown}: {path} {fault}, or name it in data.path")
    if kind == "other":
        raise UserError(f"{shown}: {path} is neither file nor folder; remove it")
    if not kind:
        raise UserError(f"{shown}: {path} is a link that leads nowhere; remove it")
    return kind == "folder"
