"""The files of a network of the hub: those that are taken, and all that is refused."""

import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import backbones as small
import pytest

from imagetrail.base import files, hub, paths
from imagetrail.base.errors import UserError
from imagetrail.base.hashing import sha256
from imagetrail.data.checksums import CHECKSUMS
from imagetrail.stages.weights import stage

MODEL = small.name("resnet")
COMMIT = "a" * 40


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.save(tmp_path_factory.mktemp("published") / "resnet", "resnet")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("IMAGETRAIL_MIRROR", raising=False)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: Path) -> Iterator[Path]:
    """The folder that the hub sends the network's files from."""
    folder = tmp_path / "hub/small/resnet/resolve" / COMMIT
    folder.mkdir(parents=True)
    for file in published.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    handler = partial(Quiet, directory=str(tmp_path / "hub"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(stage, "ADDRESS", f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()


def fetch(model: str = MODEL, digest: str | None = None) -> dict[str, object]:
    with files.replacing(paths.HUB) as folder:
        stage.fetch(model, COMMIT, digest, folder)
    facts: dict[str, object] = json.loads((paths.HUB / "hub.json").read_text())
    return facts


def refusal(digest: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        fetch(digest=digest)
    said = str(caught.value)
    assert "\n" not in said and not paths.HUB.exists()
    return said


def test_the_files_of_a_network_and_no_others_come_with_their_checksums(served: Path) -> None:
    small.write(served / "modeling.py", {})
    facts = fetch()
    folder = hub.folder(MODEL)
    assert {file.name for file in folder.iterdir()} == {hub.CONFIG, hub.PREPROCESSOR, hub.WEIGHTS}
    assert facts["revision"] == COMMIT
    assert facts["files"] == {file.name: sha256(file) for file in folder.iterdir()}
    noted = json.loads(CHECKSUMS.read_text())
    assert {address.rpartition("/")[2]: digest for address, digest in noted.items()} == facts[
        "files"
    ]
    assert hub.read(folder, MODEL).size == 64


def test_a_network_of_our_own_needs_no_file() -> None:
    assert fetch("fast") == {"model": None}
    assert [file.name for file in paths.HUB.iterdir()] == ["hub.json"]


def test_files_that_the_user_has_put_there_are_not_fetched(published: Path) -> None:
    hub.own_folder(MODEL).parent.mkdir(parents=True)
    hub.own_folder(MODEL).symlink_to(published)
    assert fetch()["where"] == "data/weights/small/resnet"
    assert hub.folder(MODEL) == hub.own_folder(MODEL)


def test_a_mirror_of_the_users_is_asked_first(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "ADDRESS", "https://nowhere.invalid")
    (tmp_path / "mirror/small").mkdir(parents=True)
    (tmp_path / "mirror/small/resnet").symlink_to(published)
    monkeypatch.setenv("IMAGETRAIL_MIRROR", str(tmp_path / "mirror"))
    fetch()
    assert sha256(hub.folder(MODEL) / hub.WEIGHTS) == sha256(published / hub.WEIGHTS)


def test_a_revision_that_has_changed_is_refused(served: Path) -> None:
    fetch()
    files.remove(paths.HUB)
    small.change(served / hub.CONFIG, hidden_sizes=[8, 16, 24, 40])
    said = refusal()
    assert "sends other bytes than data/checksums.json says" in said and COMMIT in said


def test_weights_with_another_checksum_than_the_params_name_are_refused(served: Path) -> None:
    said = refusal("0" * 64)
    assert (
        f"than pretrain.sha256 in params.yaml says: sha256 {sha256(served / hub.WEIGHTS)}" in said
    )
    fetch(digest=sha256(served / hub.WEIGHTS))
    assert not any(address.endswith(hub.WEIGHTS) for address in json.loads(CHECKSUMS.read_text()))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (hub.PICKLE, f"no {hub.WEIGHTS} but {hub.PICKLE}, a pickle, which can run code"),
        (hub.PARTS, f"no {hub.WEIGHTS} but weights in several files"),
    ],
)
@pytest.mark.parametrize("mirror", [True, False])
def test_weights_that_are_not_one_safetensors_file_are_refused(
    served: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    other: str,
    words: str,
    mirror: bool,
) -> None:
    (served / hub.WEIGHTS).rename(served / other)
    if mirror:
        (tmp_path / "mirror/small").mkdir(parents=True)
        (tmp_path / "mirror/small/resnet").symlink_to(served)
        monkeypatch.setenv("IMAGETRAIL_MIRROR", str(tmp_path / "mirror"))
    assert words in refusal()


def test_a_network_that_wants_code_of_its_own_to_run_is_refused_before_its_weights_come(
    served: Path,
) -> None:
    small.change(served / hub.CONFIG, auto_map={"AutoModel": "modeling.Own"})
    (served / hub.WEIGHTS).unlink()
    assert "comes with code of its own (auto_map in config.json), which is never run" in refusal()


def test_a_network_that_is_not_there_is_one_line(served: Path) -> None:
    (served / hub.CONFIG).unlink()
    said = refusal()
    assert "nothing is there; or put its files into data/weights/small/resnet" in said


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(stage, "ADDRESS", f"http://127.0.0.1:{free.getsockname()[1]}")
    said = refusal()
    assert "out of reach (" in said and "or put its files into data/weights/small/resnet" in said


@pytest.mark.parametrize(("model", "extra"), [(MODEL, "hub"), ("timm/resnet18.a1_in1k", "timm")])
def test_a_library_that_is_not_installed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, model: str, extra: str
) -> None:
    monkeypatch.setitem(hub.LIBRARIES, model.partition("/")[0], "no_such_package")
    monkeypatch.setitem(hub.EXTRAS, "no_such_package", extra)
    with pytest.raises(
        UserError, match=rf"needs no_such_package: pip install 'imagetrail\[{extra}\]'"
    ):
        fetch(model)
