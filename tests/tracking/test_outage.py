"""MLflow is down, hung, broken, or dies: stages give the same results, and `publish` catches up."""

import socket
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest
from mlflow_store import runs, said_of, server
from project import kill, wait_for
from studio import STAGES, Studio

WARNING = "warning: MLflow cannot be reached; going on without it, `imagetrail publish` catches up"
pytestmark = pytest.mark.slow


@contextmanager
def refuses() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        yield bound.getsockname()[1]


@contextmanager
def hangs() -> Iterator[int]:
    with socket.create_server(
        ("127.0.0.1", 0)
    ) as listening:  # the kernel accepts, and nobody answers
        yield listening.getsockname()[1]


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        Thread(target=made.serve_forever, daemon=True).start()
        yield made.server_port
        made.shutdown()


@contextmanager
def answers(status: int, text: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as port:
        yield port


@contextmanager
def resets() -> Iterator[int]:
    """A server that breaks off each connection as soon as it has heard something."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)
            at_once = struct.pack("ii", 1, 0)  # no farewell: the other side has a reset
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            self.request.close()

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as made:
        Thread(target=made.serve_forever, daemon=True).start()
        yield made.server_address[1]
        made.shutdown()


SERVERS: dict[str, Callable[[], AbstractContextManager[int]]] = {
    "refuses": refuses,
    "hangs": hangs,
    "resets": resets,
    "answers 500": lambda: answers(500, "<html>broken</html>"),
    "is something else": lambda: answers(200, "<html>hello</html>"),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_without_a_server_a_whole_repro_gives_the_same_files_and_publish_catches_up(
    studio: Studio, kind: str
) -> None:
    before, outs = said_of(studio.client()), studio.outs()
    for file in studio.root.glob("mlflow.db*"):
        file.unlink()
    with SERVERS[kind]() as port:
        address = f"http://127.0.0.1:{port}"
        said = studio.repro("--force", MLFLOW_TRACKING_URI=address)
        assert said.count(WARNING) == len(STAGES) and "Traceback" not in said
        assert studio.outs() == outs
        told = studio.publish(
            ok=False, MLFLOW_TRACKING_URI=address, MLFLOW_HTTP_REQUEST_TIMEOUT="1"
        )
        assert (
            told.startswith(f"error: MLflow at {address} cannot be reached")
            and len(told.splitlines()) == 1
        )
    studio.publish()
    assert said_of(studio.client()) == before


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])  # others may read, or not
def test_a_database_that_is_locked_for_a_minute_costs_a_line_and_publish_catches_up(
    studio: Studio, lock: str
) -> None:
    before, outs = said_of(studio.client()), studio.outs()
    began = time.monotonic()
    with closing(sqlite3.connect(studio.root / "mlflow.db", isolation_level=None)) as other:
        other.execute(f"BEGIN {lock}")
        said = studio.repro("--force")
        assert studio.outs() == outs and "Traceback" not in said
        told = studio.publish(ok=False)
        assert "cannot be reached or refuses: " in told and len(told.splitlines()) == 1, told
        time.sleep(max(0.0, 60 - (time.monotonic() - began)))
    studio.publish()
    assert said_of(studio.client()) == before


@contextmanager
def drips() -> Iterator[int]:
    """A server that sends a byte of its answer a second."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b" ")
                    time.sleep(1)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as port:
        yield port


NONSENSE = '{"experiment": {"experiment_id": "1", "name": "toy"}}'  # whatever is asked


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (drips, "no whole answer within 2 s"),
        (lambda: answers(200, "{}"), "what answers there is no MLflow server"),
        (lambda: answers(200, NONSENSE), "what answers there is no MLflow server"),
    ],
)
def test_publish_gives_up_on_a_server_that_drips_or_answers_nonsense(
    studio: Studio, kind: Callable[[], AbstractContextManager[int]], said: str
) -> None:
    with kind() as port:
        address = f"http://127.0.0.1:{port}"
        told = studio.publish(
            ok=False, MLFLOW_TRACKING_URI=address, MLFLOW_HTTP_REQUEST_TIMEOUT="2"
        )
    assert told == f"error: MLflow at {address} cannot be reached or refuses: {said}\n"


def test_a_server_that_is_killed_amid_a_training_costs_a_warning_and_publish_adds_the_rest(
    studio: Studio, tmp_path: Path
) -> None:
    def curve() -> list[int]:
        found = [run for run in runs(kept) if run.info.run_name == "train"]
        return (
            [point.step for point in kept.get_metric_history(found[0].info.run_id, "valid_top1")]
            if found
            else []
        )

    with server(tmp_path / "server") as (address, process):
        training = studio.train_until_it_waits(MLFLOW_TRACKING_URI=address)
        kept = studio.client(f"sqlite:///{tmp_path / 'server' / 'server.db'}")
        wait_for(lambda: curve() == [1, 2])
        kill(process)
    studio.let_go()
    said = "".join(training.communicate(timeout=60))
    assert training.returncode == 0 and said.count(WARNING) == 1 and "Traceback" not in said
    assert curve() == [1, 2]
    with server(tmp_path / "server") as (address, _):
        told = studio.publish(MLFLOW_TRACKING_URI=address)
    assert len(told.splitlines()) == 2, "MLflow's own lines, two for each run, are not among them"
    assert curve() == [1, 2, 3]
    assert said_of(kept) == said_of(studio.client())


def test_what_waits_for_a_hung_server_is_bounded_and_the_training_goes_on(studio: Studio) -> None:
    """Ten thousand epochs are through before patience with a server that never answers is lost."""
    script = """
from imagetrail.tracking import live
with live.running("train", {}) as log:
    for epoch in range(10_000):
        log.epoch({"epoch": epoch, "valid_top1": 0.5})
    print("trained", flush=True)
"""
    with hangs() as port:
        said = studio.run(
            sys.executable, "-c", script, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}"
        )
    assert said.index("trained") < said.index(WARNING)
