"""Archives of the user's, unpacked: nothing outside the folder, no bomb, names as they were."""

import bz2
import errno
import gzip
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import pyarrow as pa

from imagetrail.base.errors import UserError
from imagetrail.base.words import printable
from imagetrail.data.listing import flaw, hidden

KINDS = "zip, tar, tar.gz, tar.bz2, tar.xz or tar.zst"
SMALL, RATIO = 1 << 30, 200  # an archive may unpack to so many bytes, or times its own size
BLOCK = 4096  # bytes that the smallest file takes of a disk
DAMAGED = (  # what the libraries raise for archives that are cut off, broken or of a rare method
    EOFError,
    OSError,
    RuntimeError,
    UnicodeDecodeError,
    lzma.LZMAError,
    pa.ArrowException,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


def _zstandard(path: Path, _: str) -> IO[bytes]:
    stream: IO[bytes] = pa.input_stream(str(path), compression="zstd")
    return stream


ZIP = b"PK\x03\x04"
NAMED = re.compile(r".*\.(zip|tgz|tar(\.(gz|bz2|xz|zst))?)", re.IGNORECASE)
ZSTANDARD = b"\x28\xb5\x2f\xfd"
COMPRESSED: dict[bytes, Callable[[Path, str], Any]] = {  # by what such a file begins with
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    ZSTANDARD: _zstandard,
}


@dataclass(frozen=True)
class Member:
    name: str
    size: int  # bytes unpacked, as the archive says
    kind: Literal["file", "folder", "copy", "link", "device"]
    open: Callable[[], IO[bytes] | None]
    of: str = ""  # what a copy (tar's hard link) is of


def is_archive(path: Path) -> bool:
    return bool(_kind(path))


def seems_one(path: Path) -> bool:
    """Whether it was to be an archive, by its name or how it begins, even if it cannot be read."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == ZIP or bool(NAMED.fullmatch(path.name))


def unpack(origin: Path, folder: Path, shown: str) -> None:
    """Unpacks what is not hidden into `folder`.

    Raises UserError, which calls the archive `shown`, for a damaged or encrypted one, for one that
    would write outside `folder` and for one that unpacks to much more than pictures do.
    """
    kind = _kind(origin)
    if not kind:
        raise UserError(f"{shown} is no archive that can be read; it must be {KINDS}")
    folder.mkdir(parents=True, exist_ok=True)
    most = max(SMALL, RATIO * origin.stat().st_size)
    free = shutil.disk_usage(folder).free
    unpacked = 0
    try:
        with OPENERS[kind](origin) as members:
            for member in members:
                path = _inside(member.name, shown)
                if any(map(hidden, path.parts)) or member.kind == "folder":
                    continue
                unpacked += max(member.size, BLOCK)
                _refuse_too_much(unpacked, most, free, shown)
                _write(member, folder, path, shown)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's; EINVAL is the archive's, which says that a file begins before it
        reason = printable(str(error))
        raise UserError(f"{shown} cannot be unpacked ({reason}); make it anew") from None


def _kind(path: Path) -> str:
    """Zip or tar by content; empty for anything else."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        if file.read(4) == ZSTANDARD:
            return "tar"
    if zipfile.is_zipfile(path):
        return "zip"
    try:
        return "tar" if tarfile.is_tarfile(path) else ""
    except DAMAGED:  # in what it is compressed with: to unpack it will say how
        return "tar"


def _inside(name: str, shown: str) -> PurePosixPath:
    """Where a member goes, with / whatever the archive was made on."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or str(path)[1:3] == ":/" or ".." in path.parts:
        fault = "leads out of the archive; make it anew from within the folder"
        raise UserError(f"{shown}: {printable(name)} {fault}")
    if fault := flaw(name):
        raise UserError(f"{shown}: {printable(name)}: the name {fault}; rename it")
    return path


def _refuse_too_much(unpacked: int, most: int, free: int, shown: str) -> None:
    if unpacked > most:
        fault = f"unpacks to more than {RATIO} times its size and {SMALL >> 30} GB"
        raise UserError(f"{shown} {fault}, as no archive of pictures does: refused")
    if unpacked > free:
        raise UserError(f"{shown} unpacks to more than the {free / 1e9:.1f} GB that are free here")


def _write(member: Member, folder: Path, path: PurePosixPath, shown: str) -> None:
    if member.kind in ("link", "device"):
        fault = "is a link" if member.kind == "link" else "is no file"
        remedy = "put the file itself into the archive"
        raise UserError(f"{shown}: {printable(member.name)} {fault}; {remedy}")
    target = folder / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(exist_ok=False)
    except (FileExistsError, NotADirectoryError):
        fault = "is in the archive twice, or under a name that is the same here"
        raise UserError(f"{shown}: {printable(member.name)} {fault}; leave one of them") from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        fault = f"{printable(member.name[:40])}…: the name is too long for a file here; shorten it"
        raise UserError(f"{shown}: {fault}") from None
    if member.kind == "copy":
        original = folder / _inside(member.of, shown)
        if not original.is_file():
            raise UserError(f"{shown}: {member.name} is a copy of {member.of}, which is not in it")
        shutil.copyfile(original, target)
        return
    content = member.open()
    assert content, f"{member.name} is a file"
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)


@contextmanager
def _zip(path: Path) -> Iterator[Iterator[Member]]:
    with zipfile.ZipFile(path) as archive:
        yield (_zipped(archive, info) for info in archive.infolist())


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    """Python takes a name without the mark of UTF-8 for cp437; many tools do not set the mark."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    if info.flag_bits & 0x1:
        raise RuntimeError(f"{name} is encrypted")
    mode = info.external_attr >> 16
    folder = name.endswith(("/", "\\"))
    kind: Literal["file", "folder", "link"] = "folder" if folder else "file"
    if stat.S_ISLNK(mode):
        kind = "link"
    return Member(name, info.file_size, kind, lambda: archive.open(info))


@contextmanager
def _tar(path: Path) -> Iterator[Iterator[Member]]:
    with path.open("rb") as file:
        head = file.read(6)
    unpacked = next((how for mark, how in COMPRESSED.items() if head.startswith(mark)), open)
    with unpacked(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        yield (_tarred(archive, info) for info in archive)
        while stream.read(1 << 20):  # to the end, where the checksum is
            pass


def _tarred(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kind: Literal["file", "folder", "copy", "link", "device"] = "device"
    if info.isfile():
        kind = "file"
    elif info.isdir():
        kind = "folder"
    elif info.islnk():
        kind = "copy"
    elif info.issym():
        kind = "link"
    return Member(info.name, info.size, kind, lambda: archive.extractfile(info), info.linkname)


OPENERS = {"zip": _zip, "tar": _tar}
