import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from photos import ANIMALS, animals, as_zip, as_zstandard, hub, photo

from imagetrail.base import files
from imagetrail.base.errors import UserError
from imagetrail.base.hashing import sha256
from imagetrail.data import addresses, arrival
from imagetrail.data.checksums import CHECKSUMS
from imagetrail.data.params import Data

STATUS = {"/locked.zip": 403, "/broken.zip": 500}


class Handler(SimpleHTTPRequestHandler):
    """A folder, and answers as a server in trouble gives them."""

    def do_GET(self) -> None:
        if self.path in STATUS:
            self.send_error(STATUS[self.path])
        elif self.path == "/cut.zip":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"PK")
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address, and the folder behind it."""
    root = tmp_path / "served"
    root.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", root
        server.shutdown()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which the test runs in."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def data(source: str, sha256: str | None = None, table: str | None = None) -> Data:
    return Data(
        name="pets",
        source=source,
        path=Path(),
        table=table,
        sha256=sha256,
        image_size=8,
        channels=3,
    )


def fetch(chosen: Data) -> dict[str, object]:
    with files.replacing(Path("data/raw/pets/files")) as folder:
        return arrival.fetch(chosen, folder)


def refusal(chosen: Data) -> str:
    before = {*Path().rglob("*")}
    with pytest.raises(UserError) as caught:
        fetch(chosen)
    said = str(caught.value)
    assert said.startswith(chosen.source) and "\n" not in said
    assert {path for path in Path().rglob("*") if path.is_file()} <= before
    return said


# ---- what may be at an address ----


@pytest.mark.parametrize("pack", [as_zip, as_zstandard])
def test_an_archive_on_the_web_is_the_folder_in_it(web: tuple[str, Path], pack: object) -> None:
    address, root = web
    assert callable(pack)
    archive = pack(animals(root / "pets"))
    chosen = data(f"{address}/{archive.name}")
    facts = fetch(chosen)
    assert facts["sha256"] == sha256(archive) and facts["files"] == 3
    assert facts["used"] == {"": chosen.source}
    assert arrival.read(chosen).sources == ANIMALS


def test_a_folder_on_the_web_is_listed_and_taken(web: tuple[str, Path]) -> None:
    address, root = web
    animals(root / "my pets")
    photo(root / "my pets" / "cats" / "ä #1.png")
    photo(root / "my pets" / ".hidden" / "1.png")
    chosen = data(f"{address}/my pets/")
    fetch(chosen)
    assert {*arrival.read(chosen).sources} == {*ANIMALS, "cats/ä #1.png"}


def test_a_parquet_file_of_the_hub_is_a_data_set(web: tuple[str, Path]) -> None:
    address, root = web
    hub(root / "train.parquet", [1, 2], [0, 1])
    chosen = data(f"{address}/train.parquet")
    fetch(chosen)
    assert arrival.read(chosen).classes == ("a/b", "true")


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_folder_anywhere_is_taken_with_its_table(tmp_path: Path, scheme: str) -> None:
    address = f"file://{tmp_path}/pets" if scheme == "file" else "memory://pets"
    system, top = fsspec.core.url_to_fs(address)
    for number, kind in enumerate(("cat", "dog")):
        system.makedirs(f"{top}/in", exist_ok=True)
        system.pipe(f"{top}/in/{number}.png", photo(tmp_path / f"{kind}.png").read_bytes())
    system.pipe(f"{top}/labels.csv", b"path,label\nin/0.png,cat\nin/1.png,dog\n")
    chosen = data(address, table="labels.csv")
    fetch(chosen)
    found = arrival.read(chosen)
    assert found.sources == ("in/0.png", "in/1.png") and found.classes == ("cat", "dog")
    system.rm(top, recursive=True)


def test_of_an_archive_without_class_folders_the_table_is_named(web: tuple[str, Path]) -> None:
    address, root = web
    (animals(root / "pets") / "labels.csv").write_text("path,label\n")
    (root / "pets" / "dogs").rename(root / "pets" / "cats" / "more")
    as_zip(root / "pets")
    assert "only one class, 'cats'" in (said := refusal(data(f"{address}/pets.zip")))
    assert said.endswith("; or set data.table: pets/labels.csv, if that has the labels")


# ---- the same bytes as before ----


def test_the_first_checksum_is_noted_and_another_refused(web: tuple[str, Path]) -> None:
    address, root = web
    archive = as_zip(animals(root / "pets"))
    chosen = data(f"{address}/pets.zip")
    fetch(chosen)
    first = sha256(archive)
    assert json.loads(CHECKSUMS.read_text()) == {chosen.source: first}
    fetch(chosen)
    photo(root / "pets" / "dogs" / "2.png")
    as_zip(root / "pets")
    said = refusal(chosen)
    assert f"sends other bytes than {CHECKSUMS} says" in said and first in said
    assert "to accept them, remove its line there" in said
    assert arrival.read(chosen).sources == ANIMALS  # what was there stays
    CHECKSUMS.unlink()
    fetch(chosen)
    assert len(arrival.read(chosen)) == 4


def test_a_folder_whose_listing_changes_is_another(web: tuple[str, Path]) -> None:
    address, root = web
    animals(root / "pets")
    chosen = data(f"{address}/pets/")
    fetch(chosen)
    fetch(chosen)
    (root / "pets/cats/1.png").rename(root / "pets/cats/3.png")
    assert "sends other bytes" in refusal(chosen)


def test_a_checksum_in_params_is_compared_and_not_noted(web: tuple[str, Path]) -> None:
    address, root = web
    archive = as_zip(animals(root / "pets"))
    fetch(data(f"{address}/pets.zip", sha256(archive)))
    assert not CHECKSUMS.exists()
    said = refusal(data(f"{address}/pets.zip", "0" * 64))
    assert f"than data.sha256 in params.yaml says: sha256 {sha256(archive)}" in said


# ---- trouble ----


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere.zip", "nothing is there"),
        ("locked.zip", "no right to read it; give its client your credentials"),
        ("broken.zip", "the server answered 500"),
        ("cut.zip", "out of reach"),
        ("page.html", "sends a web page, not pictures"),
        ("1.png", "is no such thing: an archive (zip, "),
        ("empty/", "no file is in this folder"),
        ("nowhere/", "nothing is there"),
    ],
)
def test_an_address_in_trouble_is_one_line_and_leaves_nothing(
    web: tuple[str, Path], name: str, reason: str
) -> None:
    address, root = web
    (root / "page.html").write_text("\n<!DOCTYPE html><html>")
    (root / "empty").mkdir()
    photo(root / "1.png")
    assert reason in refusal(data(f"{address}/{name}"))


def test_a_server_that_is_down_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "out of reach (" in refusal(data(f"http://127.0.0.1:{port}/pets.zip"))


def test_a_server_that_falls_silent_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "TIMEOUT", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/pets.zip"
        assert "no answer within 1 s" in refusal(data(address))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("s4://bucket/pets", "no address begins so; known are https, "),
        ("https://[x", "https://[x is no address (Invalid IPv6 URL)"),
        ("https://me:secret@host/pets.zip", "params.yaml is no place for a password"),
        ("https://secret@host/pets.zip", "params.yaml is no place for a password or token"),
        ("s3://bucket/pets", "needs the package s3fs; pip install 'imagetrail[remote]'"),
        ("gs://bucket/pets", "needs the package gcsfs"),
        ("hf://datasets/me/pets", "needs the package huggingface_hub"),
    ],
)
def test_an_address_that_cannot_be_asked_is_refused_with_the_params(
    monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    for package in ("s3fs", "gcsfs", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError) as caught:
        addresses.check(source)
    assert words in str(caught.value) and "secret" not in str(caught.value)
    assert "memory" not in str(caught.value)  # it is for tests


@pytest.mark.parametrize("name", ["cats/pipe.png", ".pipe"])
def test_a_folder_of_this_machine_with_a_pipe_in_it_is_refused_by_its_name(
    tmp_path: Path, name: str
) -> None:
    os.mkfifo(animals(tmp_path / "pets") / name)
    with pytest.raises(UserError, match=f"{name} is neither file nor folder; remove it"):
        addresses.fetch(f"file://{tmp_path}/pets", tmp_path / "files", sha256=None)


def test_a_pipe_of_this_machine_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pets.zip")
    with pytest.raises(UserError, match="pets.zip is a pipe, socket or device"):
        addresses.download(f"file://{tmp_path}/pets.zip", tmp_path / "got")
