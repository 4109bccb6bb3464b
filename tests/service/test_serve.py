"""`imagetrail serve`: pictures over HTTP are answered as the model answers, whoever else asks."""

import io
import json
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from fastapi.openapi.models import OpenAPI
from service_client import CLASSES, PATIENCE, Service, draw, rest

from imagetrail.base.samples import Images
from imagetrail.data import decoding
from imagetrail.serving import inputs, onnx_model

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"


def decoded(content: bytes, model: onnx_model.Model) -> Images:
    return decoding.read(io.BytesIO(content), inputs.target_of(model))[0][None]


def test_pictures_of_a_form_are_answered_in_order_as_the_model_answers(
    service: Service, model: Path
) -> None:
    opened = onnx_model.load(model)
    files = [(f"{seed}.png", draw(seed, 20, 30, 3)) for seed in range(5)]
    status, found = service.form(*files)
    assert status == 200 and found["milliseconds"] > 0
    for (name, content), answer in zip(files, found["answers"], strict=True):
        (expected,) = opened.predict(decoded(content, opened))
        assert answer["file"] == name
        assert answer["class"] == CLASSES[expected.argmax()]
        assert answer["probability"] == pytest.approx(expected.max(), abs=1e-6)
        assert answer["unsure"] == bool(expected.max() < 0.5)
        assert [CLASSES.index(one["class"]) for one in answer["top"]] == list((-expected).argsort())


def test_a_body_alone_is_answered_as_the_same_file_of_a_form(
    service: Service, picture: bytes
) -> None:
    _, form = service.form(("a.png", picture))
    status, alone = service.predict(picture, Content_Type="image/png")
    assert status == 200
    assert alone["answers"] == [form["answers"][0] | {"file": "picture"}]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl here")
@pytest.mark.parametrize("how", [["--data-binary", "@a.png"], ["-F", "file=@a.png"]])
def test_curl_gets_the_answer_that_the_docs_show(
    service: Service, picture: bytes, tmp_path: Path, how: list[str]
) -> None:
    (tmp_path / "a.png").write_bytes(picture)
    command = ["curl", "--silent", *how, f"localhost:{service.port}/predict"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    (answer,) = json.loads(said)["answers"]
    assert [*answer] == ["file", "class", "probability", "unsure", "top"]


def test_what_is_no_picture_is_named_and_the_others_are_answered(
    service: Service, picture: bytes
) -> None:
    status, found = service.form(("notes.txt", b"no picture"), ("<b>.png", picture))
    bad, good = found["answers"]
    assert status == 200 and good["file"] == "<b>.png" and "class" in good
    assert bad["file"] == "notes.txt" and bad["error"].startswith("no JPEG, PNG")
    status, found = service.predict(picture[:-30])
    assert status == 422 and "damaged" in found["answers"][0]["error"]


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def test_a_picture_of_a_gigabyte_is_refused_before_it_is_decoded(service: Service) -> None:
    status, found = service.predict(png_that_claims(20_000, 20_000))
    assert status == 422 and "more than 100,000,000 pixels" in found["answers"][0]["error"]


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (b"", {}, "send a picture"),
        (b"--e--\r\n", {"Content_Type": "multipart/form-data; boundary=e"}, "no file"),
        (b"x", {"Content_Type": "multipart/form-data"}, "boundary"),
    ],
)
def test_a_request_without_a_picture_is_told_so(
    service: Service, body: bytes, headers: dict[str, str], text: str
) -> None:
    status, found = service.predict(body, **headers)
    assert status == 400 and text in found["error"]


def test_more_pictures_than_a_request_may_have_are_refused(
    service: Service, picture: bytes
) -> None:
    status, found = service.form(*[("a.png", picture)] * 65)
    assert status == 400 and "Too many files" in found["error"]


def test_a_gigabyte_is_refused_by_its_announcement(service: Service) -> None:
    reply = service.says(HEAD + b"Content-Length: 1073741824\r\n\r\n")
    assert b" 413 " in reply and b"20 megabytes" in reply


def test_a_gigabyte_that_is_not_announced_is_refused_as_it_comes(
    service: Service, picture: bytes
) -> None:
    piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"

    with service.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            for _ in range(1024):
                connection.sendall(piece)
                sent += 1
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 100
    assert service.predict(picture)[0] == 200


def test_a_page_elsewhere_gets_nothing(service: Service, picture: bytes) -> None:
    own = f"http://localhost:{service.port}"
    host = f"localhost:{service.port}"
    assert service.ask("/health", Host=host, Origin=own)[0] == 200
    for path, body in (("/health", None), ("/predict", picture)):
        status, headers, content = service.ask(path, body, Host="rebound.example")
        assert status == 403 and "--allow" in json.loads(content)["error"]
        assert headers["connection"] == "close"
        assert service.ask(path, body, Host=host, Origin="http://evil.example")[0] == 403
        assert service.ask(path, body, Host=host, Origin="null")[0] == 403


def test_health_version_and_what_is_not_there(service: Service, model: Path) -> None:
    status, headers, content = service.ask("/health")
    assert status == 200 and json.loads(content) == {"status": "ok"}
    assert "default-src 'none'" in headers["content-security-policy"]
    about = json.loads(service.ask("/version")[2])
    assert about["model"] == onnx_model.load(model).sha256 and about["classes"] == [*CLASSES]
    assert service.ask("/nothing")[0] == 404 and service.ask("/predict")[0] == 405
    assert json.loads(service.ask("/nothing")[2])["error"]


def test_the_document_is_openapi_and_knows_every_path(service: Service) -> None:
    document = json.loads(service.ask("/openapi.json")[2])
    OpenAPI.model_validate(document)
    for path in document["paths"]:
        assert service.ask(path)[0] in (200, 405)
    statuses = document["paths"]["/predict"]["post"]["responses"].keys()
    assert {"200", "400", "403", "408", "413", "422", "503"} == statuses
    page = service.ask("/docs")[2].decode()
    assert "POST /predict" in page and not re.search(r'(src|href)="(https?:)?//', page)


def test_prometheus_reads_what_was_asked_and_answered(
    started: Callable[..., Service], picture: bytes
) -> None:
    service = started("serve", "--unsure", "1")
    service.form(("a.png", picture), ("b.png", picture), ("c.png", b"no"))
    service.ask("/somewhere")
    text = service.ask("/metrics")[2].decode()
    assert 'imagetrail_requests_total{path="/predict",status="200"} 1.0' in text
    assert 'imagetrail_requests_total{path="other",status="404"} 1.0' in text
    assert re.search(r'imagetrail_answers_total{class=".+",unsure="true"} 2.0', text)
    assert "imagetrail_refused_pictures_total 1.0" in text
    assert "imagetrail_model_seconds_count 1.0" in text


# ---- clients that would keep others out ----


@pytest.fixture(scope="module")
def impatient(started: Callable[..., Service]) -> Service:
    return started("serve", "--seconds", "2")


def trickle(service: Service, begin: bytes, drop: bytes) -> tuple[bytes, float]:
    """What comes back, and after how long, if after `begin` a byte comes now and then."""
    with service.connect() as connection:
        before = time.monotonic()
        connection.sendall(begin)

        def go_on() -> None:
            try:
                while time.monotonic() < before + PATIENCE:
                    connection.sendall(drop)
                    time.sleep(0.1)
            except OSError:  # it was cut
                pass

        threading.Thread(target=go_on, daemon=True).start()
        return rest(connection), time.monotonic() - before


SLOW = {  # what a client sends at once, what now and then, and what it is told
    "silent": (b"", b"", b""),
    "first line": (b"POST /pre", b"x", b""),
    "head": (HEAD, b"A: b\r\n", b""),
    "empty lines": (b"", b"\r\n", b""),
    "body": (HEAD + b"Content-Length: 10000\r\n\r\n", b"x", b" 408 "),
}


def test_slow_clients_are_cut(impatient: Service, picture: bytes) -> None:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        found = pool.map(lambda name: trickle(impatient, *SLOW[name][:2]), SLOW)
        for name, (said, seconds) in zip(SLOW, found, strict=True):
            reply = SLOW[name][2]
            assert reply in said and bool(reply) == bool(said), name
            assert 1.5 < seconds < PATIENCE / 2, name
    assert impatient.predict(picture)[0] == 200


def test_a_head_without_end_is_cut(service: Service, picture: bytes) -> None:
    line = b"A: " + b"b" * 10_000 + b"\r\n"
    with service.connect() as connection:
        connection.sendall(HEAD)
        sent = 0
        with suppress(OSError):  # it is cut
            while sent < 10_000:
                connection.sendall(line)
                sent += 1
    assert sent < 10_000
    assert service.predict(picture)[0] == 200


def test_a_connection_serves_many_requests_one_after_the_other(
    service: Service, picture: bytes
) -> None:
    request = HEAD + f"Content-Length: {len(picture)}\r\n".encode()
    last = request + b"Connection: close\r\n\r\n" + picture
    reply = service.says(request + b"\r\n" + picture, request + b"\r\n" + picture, last)
    assert reply.count(b"HTTP/1.1 200 ") == 3


@pytest.fixture
def thousand(service: Service) -> Iterator[list[socket.socket]]:
    """Connections, a third of them silent, a third within the head, a third within the body."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    begins = (b"", b"POST /predict HTTP/1.1\r\nHo", HEAD + b"Content-Length: 1000\r\n\r\nabc")
    opened = [service.connect() for _ in range(1000)]
    for number, connection in enumerate(opened):
        connection.sendall(begins[number % 3])
    yield opened
    for connection in opened:
        connection.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connections_keep_nobody_out(
    service: Service, thousand: list[socket.socket], picture: bytes
) -> None:
    assert len(thousand) == 1000
    before = time.monotonic()
    for _ in range(20):
        assert service.predict(picture)[0] == 200
    assert time.monotonic() - before < 10  # before the thousand are cut


def test_more_requests_than_may_wait_are_refused_at_once(started: Callable[..., Service]) -> None:
    service = started("serve", "--waiting", "1")
    large, statuses = draw(0, 1500, 1500, 3), list[int]()

    def ask() -> None:
        statuses.append(service.predict(large)[0])

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {*statuses} == {200, 503}
    assert service.predict(large)[0] == 200


# ---- start and end ----


def test_what_has_begun_is_answered_when_the_service_is_told_to_end(
    started: Callable[..., Service], picture: bytes
) -> None:
    service = started("serve")
    with service.connect() as connection:
        connection.sendall(HEAD + f"Content-Length: {len(picture)}\r\n\r\n".encode())
        assert service.ask("/health")[0] == 200  # by now the first request has begun
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.sendall(picture)
        assert b" 200 OK" in rest(connection)
    assert service.process.wait(PATIENCE) == 0
    assert service.process.stderr and "Traceback" not in service.process.stderr.read()


def run(folder: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "imagetrail.cli", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stderr


def test_a_port_that_is_taken_is_one_line(service: Service, model: Path, tmp_path: Path) -> None:
    code, said = run(tmp_path, "serve", "--model", str(model), "--port", str(service.port))
    assert code == 1 and len(said.splitlines()) == 1
    assert f"port {service.port}: Address already in use; choose another with --port" in said


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_no_model_is_one_line(tmp_path: Path, command: str) -> None:
    code, said = run(tmp_path, command)
    assert code == 1 and len(said.splitlines()) == 1 and "params.yaml" in said
    code, said = run(tmp_path, command, "--model", "none.onnx")
    assert code == 1 and len(said.splitlines()) == 1 and "none.onnx" in said


def test_an_address_that_is_not_here_is_one_line(model: Path, tmp_path: Path) -> None:
    code, said = run(tmp_path, "serve", "--model", str(model), "--host", "192.0.2.1")
    assert code == 1 and said.startswith("error: 192.0.2.1") and len(said.splitlines()) == 1
