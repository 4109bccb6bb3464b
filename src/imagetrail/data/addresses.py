"""Pictures from an address, through fsspec: the same bytes as before, or a plain refusal."""

import hashlib
import importlib
import json
import logging
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from imagetrail.base.errors import UserError
from imagetrail.base.files import refuse_endless, remove
from imagetrail.base.words import printable, without_secrets
from imagetrail.data import archives, checksums, listing

TIMEOUT = 20  # seconds without a byte before an address counts as out of reach
AT_ONCE = 8  # files of a folder
PARQUET = b"PAR1"
WEB_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)
EXTRA = "pip install 'imagetrail[remote]'"


@dataclass(frozen=True)
class Client:
    """What fsspec asks for a scheme: a package, and what that raises beside OSError."""

    package: str
    errors: tuple[str, ...] = ()  # module:class


CLIENTS = {
    "https": Client("aiohttp", ("aiohttp:ClientError",)),
    "http": Client("aiohttp", ("aiohttp:ClientError",)),
    "s3": Client("s3fs", ("botocore.exceptions:BotoCoreError", "botocore.exceptions:ClientError")),
    "gs": Client(
        "gcsfs",
        ("google.auth.exceptions:GoogleAuthError", "gcsfs.retry:HttpError", "aiohttp:ClientError"),
    ),
    "hf": Client(
        "huggingface_hub",
        ("huggingface_hub.errors:HfHubHTTPError", "httpx:HTTPError", "httpx2:HTTPError"),
    ),
    "file": Client("fsspec"),
    "memory": Client("fsspec"),  # for tests
}


def check(address: str) -> None:
    """Raises UserError for an address that cannot be asked from here."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise UserError(f"{address} is no address ({error})") from None
    scheme = parts.scheme
    if scheme not in CLIENTS:
        known = ", ".join(name for name in CLIENTS if name != "memory")
        raise UserError(f"{address}: no address begins so; known are {known}")
    if parts.password is not None or (_is_web(address) and parts.username is not None):
        fault = "params.yaml is no place for a password or token; remove it"
        raise UserError(f"{without_secrets(address)}: {fault}")
    try:
        importlib.import_module(CLIENTS[scheme].package)
    except ImportError:
        package = CLIENTS[scheme].package
        raise UserError(f"{address}: needs the package {package}; {EXTRA}") from None


def fetch(address: str, folder: Path, *, sha256: str | None) -> dict[str, Any]:
    """Puts into `folder` the pictures at an address: an archive, a Parquet file or a folder.

    What it sends must have the checksum `sha256` or, without one, the one noted at first. Raises
    UserError, before anything is unpacked, if it is another, and where the address cannot be read.
    """
    system, path = _opened(address)
    with _told(address):
        is_folder = address.endswith("/") if _is_web(address) else system.isdir(path)
    if is_folder:
        digest = _fetch_folder(system, path, address, folder)
        checksums.compare(address, digest, sha256)
    else:
        sent = folder / ".sent"
        digest = _download(system, path, address, sent)
        checksums.compare(address, digest, sha256)
        _settle(sent, folder, address)
    return {"sha256": digest}


def download(address: str, target: Path) -> str:
    """Copies the one file at an address; returns its SHA-256. Raises UserError as `fetch` does."""
    system, path = _opened(address)
    return _download(system, path, address, target)


def exists(address: str) -> bool:
    """Whether something is there; not if that cannot be told."""
    system, path = _opened(address)
    return bool(system.exists(path))


def _opened(address: str) -> tuple[Any, str]:
    """A client, and what it calls the address."""
    check(address)
    package = CLIENTS[urlsplit(address).scheme].package
    logging.getLogger(package).setLevel(logging.CRITICAL)  # gcsfs logs tracebacks of its errors
    with _told(address):
        system, path = fsspec.core.url_to_fs(address, **_options(address))
    return system, path


def _is_web(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https")


def _is_local(address: str) -> bool:
    return urlsplit(address).scheme == "file"


def _options(address: str) -> dict[str, Any]:
    """For the web: a large file may take for ever, a silent server may not."""
    if not _is_web(address):
        return {}
    import aiohttp  # here: to load it takes a tenth of a second

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT)
    return {"client_kwargs": {"timeout": timeout}}


def _fetch_folder(system: Any, path: str, address: str, folder: Path) -> str:
    """All files of a folder that are not hidden; returns the SHA-256 of their names and hashes."""
    if _is_local(address):
        listing.scan(Path(path), address)  # names what cannot be copied
    with _told(address):
        system.info(path)  # `find` says nothing if the folder is not there
        found = system.find(path)
    start = len(path.rstrip("/")) + 1
    names = {_name(name[start:], address): name for name in found if name[start:]}
    wanted = {name: names[name] for name in names if _is_wanted(name)}
    if not wanted:
        raise UserError(f"{address}: no file is in this folder")

    def one(name: str) -> str:
        return _download(system, wanted[name], address, folder / name)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        hashes = dict(zip(sorted(wanted), pool.map(one, sorted(wanted)), strict=True))
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def _is_wanted(name: str) -> bool:
    """No hidden file, and no link by which a web page sorts its list."""
    plain = bool(name) and not name.endswith("/")
    return plain and not any(map(listing.hidden, PurePosixPath(name).parts))


def _name(name: str, address: str) -> str:
    """Where a file goes in our folder."""
    plain = unquote(name.partition("?")[0]) if _is_web(address) else name
    if ".." in PurePosixPath(plain).parts or PurePosixPath(plain).is_absolute():
        raise UserError(f"{address}: {printable(plain)} leads out of the folder: refused")
    return plain


def _download(system: Any, path: str, address: str, target: Path) -> str:
    """Copies a file; returns its SHA-256."""
    digest = hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for block in _blocks(system, path, address):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _blocks(system: Any, path: str, address: str) -> Iterator[bytes]:
    if _is_local(address):
        refuse_endless(Path(path))
    stream = {"block_size": 0} if _is_web(address) else {}
    with _told(address), system.open(path, "rb", **stream) as content:
        while block := content.read(1 << 20):
            yield block


def _settle(sent: Path, folder: Path, address: str) -> None:
    """Makes pictures of the one file that came."""
    with sent.open("rb") as file:
        head = file.read(512)
    if archives.is_archive(sent):
        archives.unpack(sent, folder, address)
        remove(sent)
    elif archives.seems_one(sent):
        raise UserError(f"{address} sends an archive that is cut off or damaged")
    elif head.startswith(PARQUET):
        sent.rename(folder / "pictures.parquet")
    elif WEB_PAGE.match(head):
        raise UserError(f"{address} sends a web page, not pictures; find the address of the file")
    else:
        wanted = f"an archive ({archives.KINDS}), a Parquet file or a folder is wanted"
        raise UserError(f"{address} is no such thing: {wanted}")


@contextmanager
def _told(address: str) -> Iterator[None]:
    """What a client raises becomes one line."""
    try:
        yield
    except _errors(address) as error:  # asked for only once something is raised
        raise UserError(f"{address}: {_reason(error)}") from None


def _errors(address: str) -> tuple[type[Exception], ...]:
    """Those of the system, and of the client's own that it has loaded."""
    names = [name.split(":") for name in CLIENTS[urlsplit(address).scheme].errors]
    own = [getattr(sys.modules[module], kind) for module, kind in names if module in sys.modules]
    return (OSError, *own)


def _reason(error: BaseException) -> str:
    while isinstance(error, FileNotFoundError) and error.__cause__:
        error = error.__cause__  # fsspec says "not found" whatever the web says
    status = getattr(error, "status", None) or getattr(
        getattr(error, "response", None), "status_code", None
    )
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "nothing is there"
    if isinstance(error, PermissionError) or status in (401, 403):
        return "no right to read it; give its client your credentials"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT} s"
    if status:
        return f"the server answered {status}"
    return f"out of reach ({next(iter(str(error).splitlines()), type(error).__name__)})"
