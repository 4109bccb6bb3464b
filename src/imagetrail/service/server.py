"""The application behind a port: uvicorn, with clients that say nothing cut."""

import asyncio
import resource
import signal
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from imagetrail.base.errors import UserError

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")  # that a browser on this machine may ask for
TRIED = 20  # ports, where any one will do
MOST_HEAD = 1 << 20  # bytes of a request before its body, and what comes with them
SPARE = 64  # files that are open beside connections


def listen(host: str, port: int, *, tried: int = 1) -> socket.socket:
    """A socket on the first free port of `tried`, from `port` on; 0: on any.

    Raises UserError if there is none, or no such address here.
    """
    for number in range(port, min(port + tried, 65536) if port else 1):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.socket(family)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, number))
            opened.listen()
            return opened
        except socket.gaierror:
            opened.close()
            raise UserError(f"--host {host}: there is no such address") from None
        except OSError as error:
            opened.close()
            fault = error.strerror
    ports = f"port {port}" if tried == 1 else f"ports {port} to {port + tried - 1}"
    raise UserError(f"{host}, {ports}: {fault}; choose another with --port".replace("  ", " "))


def run(app: ASGIApp, opened: socket.socket, *, seconds: float) -> None:
    """Serves until SIGINT or SIGTERM, and lets requests that have begun end."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    class Timed(Protocol):
        patience, most_connections = seconds, min(most, 1 << 16) - SPARE

    config = uvicorn.Config(
        app,
        http=Timed,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=round(seconds) + 1,
        timeout_graceful_shutdown=round(seconds) + 1,
    )
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn raises it again at its end
    try:
        uvicorn.Server(config).run(sockets=[opened])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


class Protocol(HttpToolsProtocol):
    """A connection that is cut if the next request's head is not there in time, or is too long.

    uvicorn waits for ever for a head that has begun or never comes.
    """

    patience: float
    most_connections: int
    _head = 0
    _cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._begin()
        if len(self.connections) > self.most_connections:
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._cut:
            self._head += len(data)
            if self._head > MOST_HEAD:
                self.transport.close()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._end()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            self._begin()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._end()
        self._head = 0
        self._cut = self.loop.call_later(self.patience, self.timeout_keep_alive_handler)

    def _end(self) -> None:
        if self._cut:
            self._cut.cancel()
            self._cut = None
